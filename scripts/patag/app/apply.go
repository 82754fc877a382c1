package app

import (
	"context"

	"patag/scripts/patag/engine"
)

// Apply makes the cloud as the session's stack says: it makes good what a killed run left, sweeps up what a cluster that is gone
// left, and runs the program.
func (s *Session) Apply(ctx context.Context) (engine.Result, error) {
	if err := s.Finished(); err != nil {
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
