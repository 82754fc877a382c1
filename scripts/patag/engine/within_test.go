package engine

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestForgetWithin(t *testing.T) {
	const u = "urn:pulumi:s::p::"
	st, err := parseState(json.RawMessage(`{"manifest":{"n":1},"resources":[
		{"urn":"` + u + `net::n","type":"net","custom":true,"id":"n"},
		{"urn":"` + u + `comp::c","type":"comp","custom":false},
		{"urn":"` + u + `cluster::c","type":"cluster","custom":true,"id":"c","parent":"` + u + `comp::c","protect":true,"dependencies":["` + u + `net::n"]},
		{"urn":"` + u + `pulumi:providers:kubernetes::k","type":"pulumi:providers:kubernetes","custom":true,"id":"k1","dependencies":["` + u + `cluster::c"]},
		{"urn":"` + u + `pool::p","type":"pool","custom":true,"id":"p","deletedWith":"` + u + `cluster::c"},
		{"urn":"` + u + `ns::n","type":"kubernetes:core/v1:Namespace","custom":true,"id":"n","provider":"` + u + `pulumi:providers:kubernetes::k::k1","protect":true},
		{"urn":"` + u + `member::m","type":"member","custom":true,"id":"m","dependencies":["` + u + `cluster::c","` + u + `net::n"],"propertyDependencies":{"a":["` + u + `ns::n"]},"outputs":{"big":12345678901234567890}}
	],"pending_operations":[{"type":"creating","resource":{"urn":"` + u + `pool::p"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n := st.forgetWithin("cluster"); n != 4 {
		t.Errorf("%d were forgotten", n)
	}
	raw, err := st.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, loose := range []string{"cluster::c", "kubernetes::k", "pool::p", "ns::n"} {
		if strings.Contains(string(raw), loose) {
			t.Errorf("%s is still in %s", loose, raw)
		}
	}
	for _, kept := range []string{"net::n", "comp::c", "member::m", "12345678901234567890", `"manifest":{"n":1}`} {
		if !strings.Contains(string(raw), kept) {
			t.Errorf("%s is gone from %s", kept, raw)
		}
	}
	if st.forgetWithin("cluster") != 0 {
		t.Error("a second time finds something")
	}
}
