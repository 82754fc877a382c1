package addresses

import (
	"net/netip"
	"path/filepath"
	"testing"

	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

func TestAllotmentsLastAndAreReused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	settings := layout.Settings{Instance: 7, API: "127.0.0.1:1"}
	open := func() *store.Store {
		st, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	st := open()
	get := func(owner string) (a netip.Addr) {
		t.Helper()
		err := st.Update(func(tx store.Tx) (err error) { a, err = Allocate(tx, settings, owner); return err })
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b := get("a"), get("b")
	if a == b || a.String() != "127.7.2.1" || b.String() != "127.7.2.2" {
		t.Fatalf("got %s and %s", a, b)
	}
	st.Close()
	st = open()
	defer st.Close()
	if again := get("a"); again != a {
		t.Errorf("after a restart %s, was %s", again, a)
	}
	if err := st.Update(func(tx store.Tx) error { return Release(tx, "a") }); err != nil {
		t.Fatal(err)
	}
	if c := get("c"); c != a {
		t.Errorf("a released address is not used again: %s", c)
	}
	var e netip.Addr
	if err := st.Update(func(tx store.Tx) (err error) { e, err = AllocateEndpoint(tx, settings, "c"); return err }); err != nil || e.String() != "127.7.1.1" {
		t.Errorf("endpoint %s, %v", e, err)
	}
	err := st.Update(func(tx store.Tx) error {
		for i := range 300 {
			if _, err := Allocate(tx, settings, string(rune('A'+i))+"x"); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		t.Error("300 addresses were handed out")
	}
	if err := st.View(func(tx store.Tx) error {
		if _, ok, err := Lookup(tx, "Ax"); ok || err != nil {
			t.Errorf("a failed transaction left an allotment (%v)", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
