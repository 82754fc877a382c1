package engine

import (
	"context"
	"errors"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"patag/scripts/patag/exit"
)

// program is the stack's, behind its check.
func (s *Stack) program(ctx *pulumi.Context) error {
	if s.o.Check != nil && !s.unchecked {
		if err := s.o.Check(ctx); err != nil {
			s.refused = err
			return err
		}
	}
	return s.o.Program(ctx)
}

func (s *Stack) packs() []string {
	if s.o.PolicyPack == "" {
		return nil
	}
	return []string{s.o.PolicyPack}
}

// refusal is the end of a run that policies ended; nil when they did not. The check comes before anything is changed. The
// engine's pack looks at one resource after the other, when others may have been changed.
func (s *Stack) refusal(ctx context.Context, v *view, preview bool) error {
	const hint = "`patag policy` lists the rules and says why each is there"
	switch {
	case ctx.Err() != nil:
		return nil
	case s.refused != nil:
		return exit.New(exit.Usage, "%s: refused by the policies, nothing was changed: %w", v.title(), s.refused).WithHint(hint)
	case len(v.refused) > 0:
		code, state := exit.Failed, "what was begun before is done"
		if preview {
			code, state = exit.Usage, "nothing was changed"
		}
		return exit.New(code, "%s: refused by the policies, %s: %w", v.title(), state, errors.New(strings.Join(v.refused, "\n  "))).WithHint(hint)
	}
	return nil
}

// policy notes what the engine's policy pack has against a resource.
func (v *view) policy(e *apitype.PolicyEvent) {
	lines := strings.Split(clean(e.Message), "\n")
	// The pack's description of the rule comes first, what is wrong last.
	text := e.PolicyName + ": " + lines[len(lines)-1]
	if e.ResourceURN != "" {
		text = describe(e.ResourceURN) + ": " + text
	}
	if e.EnforcementLevel == "mandatory" {
		v.refused = append(v.refused, text)
	} else if !v.warned[text] {
		v.warned[text] = true
		v.progress.Line("   ! %s", text)
	}
}
