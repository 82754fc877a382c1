package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"patag/infra/sandbox/machine"
)

// complete fills in the defaults that hang on other values.
func (s *Settings) complete() {
	if s.Kind == Foundation {
		return
	}
	if s.Location == "" {
		s.Location = s.zone
	}
	if s.Location == "" && s.Region != "" {
		s.Location = s.Region + "-b"
	}
	if s.Namespace == "" {
		s.Namespace = s.Stack
	}
	if len(s.NodeZones) == 0 && s.Location != "" {
		s.NodeZones = []string{s.Location}
		if s.Location == s.Region {
			s.NodeZones = []string{s.Region + "-b"}
		}
	}
}

// Zonal says whether the cluster's control plane lies in one zone.
func (s *Settings) Zonal() bool { return s.Location != s.Region }

// relations checks values against each other.
// redisOverheadMiB is what a Redis server's pod asks for beside its data: see infra/redis.
const redisOverheadMiB = 32

func (s *Settings) relations() (problems []problem) {
	if s.Kind == Foundation {
		return nil
	}
	problems = append(problems, s.places()...)
	problems = append(problems, s.overlaps()...)
	problems = append(problems, s.sizes()...)
	// A pod that fits no node waits for ever, and whoever waits for it too.
	if m, err := machine.Lookup(s.Standard.MachineType); err == nil && int64(s.RedisMemoryMiB+redisOverheadMiB) > m.AllocatableMiB() {
		problems = append(problems, problem{fmt.Sprintf("patag:redisMemoryMiB is %d", s.RedisMemoryMiB),
			fmt.Sprintf("a node of type %s leaves %d MiB to pods, and each Redis server asks for %d more than its data", m.Name, m.AllocatableMiB(), redisOverheadMiB), "lower it, or choose a larger patag:standardMachineType"})
	}
	if s.CanaryLive && s.CanaryImage == "" {
		problems = append(problems, problem{"patag:canaryLive is true", "there is no canary without patag:canaryImage", "set both or none"})
	}
	return append(problems, s.neededImages()...)
}

func (s *Settings) places() (problems []problem) {
	if s.Location != s.Region && regionOf(s.Location) != s.Region {
		problems = append(problems, problem{fmt.Sprintf("patag:location is %q", s.Location), "it does not lie in gcp:region " + s.Region, "use " + s.Region + " or one of its zones"})
	}
	for _, z := range s.NodeZones {
		if regionOf(z) != s.Region {
			problems = append(problems, problem{fmt.Sprintf("patag:nodeZones has %q", z), "it does not lie in gcp:region " + s.Region, "use zones of that region"})
		}
	}
	if s.Zonal() && !slices.Contains(s.NodeZones, s.Location) {
		problems = append(problems, problem{"patag:nodeZones lacks " + s.Location, "nodes of a zonal cluster run in its own zone at least", "add it"})
	}
	return problems
}

func (s *Settings) overlaps() (problems []problem) {
	ranges := []struct{ key, value string }{
		{"nodeRange", s.Ranges.Nodes}, {"podRange", s.Ranges.Pods}, {"serviceRange", s.Ranges.Services}, {"masterRange", s.Ranges.Master},
	}
	for i, a := range ranges {
		for _, b := range ranges[:i] {
			if netip.MustParsePrefix(a.value).Overlaps(netip.MustParsePrefix(b.value)) {
				problems = append(problems, problem{fmt.Sprintf("patag:%s %s overlaps patag:%s %s", a.key, a.value, b.key, b.value), "an address must have one owner", "move one of them"})
			}
		}
	}
	return problems
}

func (s *Settings) sizes() (problems []problem) {
	for _, pair := range []struct {
		name     string
		min, max int
	}{{"standard", s.Standard.Min, s.Standard.Max}, {"highCpu", s.HighCPU.Min, s.HighCPU.Max}, {"tag", s.TagMin, s.TagMax}} {
		if pair.min > pair.max {
			problems = append(problems, problem{fmt.Sprintf("patag:%sMin is %d and patag:%sMax is %d", pair.name, pair.min, pair.name, pair.max), "the smallest size is above the largest", "raise one or lower the other"})
		}
	}
	nodes := (s.Standard.Max + s.HighCPU.Max) * len(s.NodeZones)
	if room := 1 << (24 - netip.MustParsePrefix(s.Ranges.Pods).Bits()); nodes > room {
		problems = append(problems, problem{fmt.Sprintf("patag:podRange %s has room for %d nodes", s.Ranges.Pods, room), fmt.Sprintf("the pools may grow to %d, and each node takes a /24", nodes), "widen the range or lower the maxima"})
	}
	return problems
}

func (s *Settings) neededImages() (problems []problem) {
	needed := []struct{ name, ref string }{{"tag", s.Images.Tag}, {"redis", s.Images.Redis}, {"nutcracker", s.Images.Nutcracker}}
	if s.Engine == FerretDB {
		needed = append(needed, struct{ name, ref string }{"ferretdb", s.Images.FerretDB})
	}
	if s.Kind == Production || s.Restore != nil {
		needed = append(needed, struct{ name, ref string }{"backup", s.Images.Backup})
	}
	if s.Kind == Production && s.ReaperSchedule != "" && (s.Foundation == nil || s.Foundation.ReaperServiceAccount != "") {
		needed = append(needed, struct{ name, ref string }{"reaper", s.Images.Reaper})
	}
	var missing []string
	for _, image := range needed {
		if image.ref == "" {
			missing = append(missing, image.name)
		}
	}
	if missing != nil {
		problems = append(problems, problem{"patag:images lacks " + strings.Join(missing, ", "), "these images run in the stack", "run `patag images push` and give what it prints"})
	}
	if s.Engine == MongoDB && s.Images.MongoDB == "" {
		problems = append(problems, problem{"patag:mongodbImage is not set", "engine mongodb runs MongoDB's official image, and images run by digest", "set it to docker.io/library/mongo@sha256:… of the version you tested"})
	}
	return problems
}
