package price

import (
	"math"
	"testing"
)

func TestMachine(t *testing.T) {
	for kind, want := range map[string]float64{"n1-standard-1": 0.0523, "n1-highcpu-2": 0.0779, "e2-standard-2": 0.0737, "n1-custom-2-4096": 0.0882} {
		if got, known := Machine(kind, false); !known || math.Abs(got-want) > 0.0005 {
			t.Errorf("%s costs %f, %v; want %f", kind, got, known, want)
		}
		if spot, _ := Machine(kind, true); spot <= 0 || spot > want/2 {
			t.Errorf("%s costs %f as a spot machine", kind, spot)
		}
	}
	for _, kind := range []string{"", "n1", "e2-medium", "x9-standard-2", "n1-standard-x", "n1-custom-2"} {
		if _, known := Machine(kind, false); known {
			t.Errorf("%q has a price", kind)
		}
	}
}
