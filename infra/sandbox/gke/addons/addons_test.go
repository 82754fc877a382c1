package addons

import (
	"net/netip"
	"testing"
)

func TestManifestsRender(t *testing.T) {
	objects, err := render(Values{Gateway: netip.MustParseAddr("10.0.0.1"), DNS: netip.MustParseAddr("10.2.0.10"), MetricsPort: 4443, CA: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, o := range objects {
		kinds[o.GetKind()]++
		if o.GetName() == "" || o.GetAPIVersion() == "" {
			t.Errorf("an object without name or version: %v", o.Object)
		}
	}
	for kind, want := range map[string]int{"StorageClass": 2, "CustomResourceDefinition": 3, "Service": 2, "EndpointSlice": 2} {
		if kinds[kind] != want {
			t.Errorf("%d objects of kind %s, want %d", kinds[kind], kind, want)
		}
	}
}
