package config

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Source is where the raw values of a stack come from.
type Source struct {
	// Stack is the stack's name: production, staging-acme.
	Stack string
	// Get answers the raw value of a full key (patag:engine, gcp:project); objects and lists as JSON.
	Get func(key string) (string, bool)
	// Keys lists every key that is set, of all namespaces; nil when they cannot be listed, and then unknown keys
	// are not found.
	Keys []string
}

// FromMap is a Source over raw values by full key.
func FromMap(stack string, values map[string]string) Source {
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	return Source{Stack: stack, Keys: keys, Get: func(key string) (string, bool) { v, ok := values[key]; return v, ok }}
}

// problem is one thing that is wrong: one line that says what, why and what to do.
type problem struct{ what, why, do string }

func (p problem) String() string {
	line := p.what
	if p.why != "" {
		line += ": " + p.why
	}
	if p.do != "" {
		line += "; " + p.do
	}
	return line
}

// Error is everything that is wrong with a stack's configuration.
type Error struct {
	Stack string
	Lines []string
}

func (e *Error) Error() string {
	return fmt.Sprintf("configuration of stack %q:\n  %s", e.Stack, strings.Join(e.Lines, "\n  "))
}

// Load reads, completes and checks the configuration of a stack. Its error is an *Error with all that is wrong.
func Load(src Source) (*Settings, error) {
	s := &Settings{Stack: src.Stack}
	var problems []problem
	kind, bad := loadKind(src)
	if bad != nil {
		// Without a kind, nothing else can be judged but the names of the keys.
		problems = append(append(problems, *bad), unknown(src, "")...)
		return nil, asError(src.Stack, problems)
	}
	s.Kind = kind
	if !kind.Built() {
		return nil, asError(src.Stack, []problem{{
			fmt.Sprintf("patag:kind is %q", kind), "the program of this kind is not built yet", "use foundation, production or staging",
		}})
	}
	problems = append(problems, unknown(src, kind)...)
	problems = append(problems, s.loadCloud(src)...)
	for _, key := range Keys() {
		if !slices.Contains(key.Kinds, kind) || key.set == nil {
			continue
		}
		full := Namespace + ":" + key.Name
		raw, given := src.Get(full)
		if given && raw == "" {
			problems = append(problems, problem{full + " is empty", "that is neither a value nor the default", "give it a value or remove the key"})
			continue
		}
		if !given {
			raw = key.DefaultFor(kind)
		}
		if raw == "" {
			if key.Required {
				problems = append(problems, problem{full + " is not set", key.Reason, "set it with: pulumi config set " + full + " VALUE"})
			}
			continue
		}
		if err := key.set(s, raw); err != nil {
			what := fmt.Sprintf("%s is %s", full, shorten(raw))
			if key.Secret {
				what = full + " is not acceptable"
			}
			problems = append(problems, problem{what, err.Error(), "see docs/configuration.md"})
		}
	}
	s.complete()
	if len(problems) == 0 { // relations between values mean nothing while values are wrong
		problems = append(problems, s.relations()...)
	}
	return s, asError(src.Stack, problems)
}

func asError(stack string, problems []problem) error {
	if len(problems) == 0 {
		return nil
	}
	e := &Error{Stack: stack}
	for _, p := range problems {
		e.Lines = append(e.Lines, p.String())
	}
	return e
}

func loadKind(src Source) (Kind, *problem) {
	names := make([]string, 0, len(Kinds()))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	raw, ok := src.Get(Namespace + ":kind")
	do := "set patag:kind to one of " + strings.Join(names, ", ")
	if !ok || raw == "" {
		return "", &problem{"patag:kind is not set", "it says which program the stack runs", do}
	}
	if !slices.Contains(names, raw) {
		return "", &problem{fmt.Sprintf("patag:kind is %q", raw), "there is no such kind", do}
	}
	return Kind(raw), nil
}

func (s *Settings) loadCloud(src Source) (problems []problem) {
	s.Project, _ = src.Get("gcp:project")
	s.Region, _ = src.Get("gcp:region")
	switch {
	case s.Project == "":
		problems = append(problems, problem{"gcp:project is not set", "every resource belongs to a Google Cloud project", "set it with: pulumi config set gcp:project ID"})
	case !projectPattern.MatchString(s.Project):
		problems = append(problems, problem{fmt.Sprintf("gcp:project is %q", s.Project), "a project id has 6 to 30 lower-case letters, digits and hyphens and starts with a letter", "use the id, not the name or number"})
	}
	switch {
	case s.Region == "":
		problems = append(problems, problem{"gcp:region is not set", "network, cluster and repository lie in a region", "set it with: pulumi config set gcp:region europe-west1"})
	case !slices.Contains(regions, s.Region):
		problems = append(problems, problem{fmt.Sprintf("gcp:region is %q", s.Region), "this is no Google Cloud region", didYouMean("", s.Region, regions)})
	}
	s.zone, _ = src.Get("gcp:zone")
	if zone := s.zone; zone != "" && s.Region != "" && regionOf(zone) != s.Region {
		problems = append(problems, problem{fmt.Sprintf("gcp:zone is %q", zone), "it does not lie in gcp:region " + s.Region, "use " + s.Region + "-b or drop the key"})
	}
	if kind := s.Kind; kind == Production || kind == Staging {
		if !stackPattern.MatchString(s.Stack) {
			problems = append(problems, problem{fmt.Sprintf("the stack's name is %q", s.Stack), "it names the cluster, and Google allows 2 to 32 lower-case letters, digits and single hyphens, a letter first, beside the random suffix", "choose another name"})
		}
	}
	return problems
}

// unknown finds keys of the namespace that do not exist, or not for the kind.
func unknown(src Source, kind Kind) (problems []problem) {
	var names []string
	byName := map[string]Key{}
	for _, k := range Keys() {
		names, byName[k.Name] = append(names, k.Name), k
	}
	keys := slices.Clone(src.Keys)
	sort.Strings(keys)
	for _, full := range keys {
		name, ours := strings.CutPrefix(full, Namespace+":")
		if !ours {
			continue
		}
		key, known := byName[name]
		switch {
		case !known:
			problems = append(problems, problem{full + " is not a key", "a misspelt key would silently do nothing", didYouMean(Namespace+":", name, names)})
		case kind != "" && !slices.Contains(key.Kinds, kind):
			problems = append(problems, problem{full + " is not a key of kind " + string(kind), "it would silently do nothing", "remove it"})
		}
	}
	return problems
}

// shorten keeps long values and secrets' neighbours out of messages.
func shorten(raw string) string {
	if len(raw) > 80 {
		raw = raw[:77] + "..."
	}
	return fmt.Sprintf("%q", raw)
}

// Lines gives the single messages of a Load error, or the error's text.
func Lines(err error) []string {
	var e *Error
	if errors.As(err, &e) {
		return e.Lines
	}
	return []string{err.Error()}
}
