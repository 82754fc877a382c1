// Package addresses hands out the loopback addresses of a sandbox: one per cluster endpoint, one per static or load
// balancer address. An address belongs to an owner until it is released, across restarts; asking again for the same
// owner gives the same address. The caller's transaction decides whether the allotment is kept.
package addresses

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"patag/infra/sandbox/layout"
	"patag/infra/sandbox/store"
)

// count is how many addresses layout has of each kind.
const count = 251

type allotment struct {
	Owner   string `json:"owner"`
	Address string `json:"address"`
}

// Allocate gives the owner a static address (ports 80 and 443).
func Allocate(tx store.Tx, s layout.Settings, owner string) (netip.Addr, error) {
	return allocate(tx, "static", s.StaticAddress, owner)
}

// Release takes the owner's static address back, if it has one.
func Release(tx store.Tx, owner string) error { return release(tx, "static", owner) }

// Lookup is the owner's static address.
func Lookup(tx store.Tx, owner string) (netip.Addr, bool, error) {
	var found netip.Addr
	err := each(tx, "static", func(_ string, a allotment) error {
		if a.Owner == owner {
			found, _ = netip.ParseAddr(a.Address)
		}
		return nil
	})
	return found, found.IsValid(), err
}

// Owners lists the owners of static addresses whose names have the prefix.
func Owners(tx store.Tx, ownerPrefix string) ([]string, error) {
	var owners []string
	err := each(tx, "static", func(_ string, a allotment) error {
		if strings.HasPrefix(a.Owner, ownerPrefix) {
			owners = append(owners, a.Owner)
		}
		return nil
	})
	return owners, err
}

// AllocateEndpoint gives the owner the address of a cluster endpoint (port 443).
func AllocateEndpoint(tx store.Tx, s layout.Settings, owner string) (netip.Addr, error) {
	return allocate(tx, "endpoint", s.ClusterEndpoint, owner)
}

// ReleaseEndpoint takes the owner's endpoint address back, if it has one.
func ReleaseEndpoint(tx store.Tx, owner string) error { return release(tx, "endpoint", owner) }

func prefix(kind string) string { return "addresses/" + kind + "/" }

func each(tx store.Tx, kind string, fn func(key string, a allotment) error) error {
	return tx.List(prefix(kind), func(key string, raw []byte) error {
		var a allotment
		if err := json.Unmarshal(raw, &a); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		return fn(key, a)
	})
}

func allocate(tx store.Tx, kind string, address func(int) netip.Addr, owner string) (netip.Addr, error) {
	taken := map[string]bool{}
	var has netip.Addr
	err := each(tx, kind, func(_ string, a allotment) (err error) {
		taken[a.Address] = true
		if a.Owner == owner {
			has, err = netip.ParseAddr(a.Address)
		}
		return err
	})
	if err != nil || has.IsValid() {
		return has, err
	}
	for n := range count {
		a := address(n)
		if !taken[a.String()] {
			return a, tx.Put(fmt.Sprintf("%s%03d", prefix(kind), n), allotment{owner, a.String()})
		}
	}
	return netip.Addr{}, fmt.Errorf("all %d loopback addresses for %s use are taken; delete some first", count, kind)
}

func release(tx store.Tx, kind, owner string) error {
	var keys []string
	err := each(tx, kind, func(key string, a allotment) error {
		if a.Owner == owner {
			keys = append(keys, key)
		}
		return nil
	})
	for _, k := range keys {
		if err == nil {
			err = tx.Delete(k)
		}
	}
	return err
}
