package app

import (
	"strings"

	"patag/scripts/patag/exit"
	"patag/stacks/config"
)

// Confirm asks before something is done that people would notice. Production and the foundation want their name, typed or given
// with --confirm; for all else a yes will do.
func (a *App) Confirm(s *Session, yes bool, confirm, question string) error {
	guarded := s.Kind != string(config.Staging)
	switch {
	case confirm != "" && confirm != s.Stack:
		return exit.New(exit.Usage, "--confirm %s is not the name of the stack, %s", confirm, s.Stack).WithHint("nothing was changed")
	case confirm == s.Stack, yes && !guarded:
		return nil
	case !a.Interactive() && guarded:
		return exit.New(exit.Usage, "%s wants its name, and nobody can be asked", s.Stack).WithHint("confirm with --confirm %s", s.Stack)
	case !a.Interactive():
		return exit.New(exit.Usage, "this wants a yes, and nobody can be asked").WithHint("add --yes")
	}
	if guarded {
		answer, err := a.Ask(question + "\nType the name of the stack: ")
		if err != nil {
			return err
		}
		if answer != s.Stack {
			return exit.New(exit.Usage, "%q is not %q; nothing was changed", answer, s.Stack)
		}
		return nil
	}
	answer, err := a.Ask(question + " [y/N] ")
	if err != nil {
		return err
	}
	if l := strings.ToLower(answer); l != "y" && l != "yes" {
		return exit.New(exit.Usage, "not confirmed; nothing was changed")
	}
	return nil
}
