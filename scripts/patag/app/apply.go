package app

import (
	"context"

	"patag/scripts/patag/engine"
	"patag/scripts/patag/exit"
)

// Apply makes the cloud as the session's stack says: it makes good what a killed run left, sweeps up what a cluster that is gone
// left, and runs the program.
func (s *Session) Apply(ctx context.Context) (engine.Result, error) {
	if err := s.Finished(); err != nil {
		return engine.Result{}, err
	}
	if err := s.sameProject(ctx); err != nil {
		return engine.Result{}, err
	}
	stack, err := s.Open(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	defer stack.Close()
	sum, err := stack.Recover(ctx)
	if err != nil {
		return engine.Result{}, err
	}
	// What a cluster that is gone left behind holds the static address, and the new one's Ingress would wait for it.
	before, err := s.Remember(sum)
	if err != nil {
		return engine.Result{}, err
	}
	if _, err := s.Sweep(ctx, before); err != nil {
		return engine.Result{}, err
	}
	if s.Look {
		if err := stack.Refresh(ctx); err != nil {
			return engine.Result{}, err
		}
	}
	result, err := stack.Up(ctx)
	if sum, ok, peekErr := s.Peek(ctx, s.Stack); peekErr == nil && ok {
		if _, rememberErr := s.Remember(sum); err == nil {
			err = rememberErr
		}
	}
	return result, err
}

// sameProject refuses to go on with a stack in another project than it is up in: its resources would be looked for where they are not,
// or be replaced one by one, protected ones in the middle of it.
func (s *Session) sameProject(ctx context.Context) error {
	before, err := s.work().Config()
	if err != nil {
		return err
	}
	was, _ := before["gcp:project"].(string)
	now, err := s.Value("gcp:project")
	if err != nil || was == "" || was == now {
		return err
	}
	if sum, ok, err := s.Peek(ctx, s.Stack); err != nil || !ok || sum.Resources == 0 {
		return err
	}
	return exit.New(exit.Usage, "stack %s is up in project %s, and this run is for project %s", s.Stack, was, now).
		WithHint("leave --project away or give %s; a stack moves by `patag down` there and `patag up` here. Nothing was changed", was)
}
