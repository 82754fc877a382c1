package gke

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sort"

	"patag/infra/sandbox/cluster"
	"patag/infra/sandbox/pki"
)

// poolRecord is what is wanted of a pool.
type poolRecord struct {
	cluster.NodePool
	// Sizes is the wanted number of nodes in each zone, as set or as the autoscaler changed it.
	Sizes map[string]int
	// Deleting is set once for all: its nodes go, then the record.
	Deleting bool
}

// nodeRecord is what a node was made as. It is written before the node exists.
type nodeRecord struct {
	Name, Pool, Zone string
	MachineType      string
	DiskGB           int64
	// Template tells nodes apart that were made from another machine type, disk or account than is wanted now.
	Template          string
	Spot, Preemptible bool
	Address           netip.Addr
	PodCIDR           netip.Prefix
	// Labels and Taints are the pool's as they were given to the Node object, so that those that go are known.
	Labels map[string]string
	Taints []cluster.Taint
	// Removing is set once for all: the node goes, and counts no more.
	Removing bool
	// Created orders nodes.
	Created int64
}

// folder is the layout of one cluster's state.
type folder string

func (f folder) spec() string                { return filepath.Join(string(f), "cluster.json") }
func (f folder) deleting() string            { return filepath.Join(string(f), "deleting") }
func (f folder) controlPlane() string        { return filepath.Join(string(f), "control-plane") }
func (f folder) pools() string               { return filepath.Join(string(f), "pools") }
func (f folder) pool(name string) string     { return filepath.Join(string(f), "pools", name+".json") }
func (f folder) nodes() string               { return filepath.Join(string(f), "nodes") }
func (f folder) node(name string) string     { return filepath.Join(string(f), "nodes", name) }
func (f folder) record(n string) string      { return filepath.Join(f.node(n), "node.json") }
func (f folder) nodeFile(n, s string) string { return filepath.Join(f.node(n), s) }

func save(file string, v any) error {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return pki.WriteFile(file, raw, 0o600)
}

func load(file string, v any) error {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// loadPools and loadNodes read all records, in order of their names.
func (f folder) loadPools() (map[string]*poolRecord, error) {
	files, err := filepath.Glob(filepath.Join(f.pools(), "*.json"))
	if err != nil {
		return nil, err
	}
	pools := map[string]*poolRecord{}
	for _, file := range files {
		p := &poolRecord{}
		if err := load(file, p); err != nil {
			return nil, err
		}
		pools[p.Name] = p
	}
	return pools, nil
}

func (f folder) loadNodes() ([]nodeRecord, error) {
	entries, err := os.ReadDir(f.nodes())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var nodes []nodeRecord
	for _, e := range entries {
		var n nodeRecord
		err := load(f.record(e.Name()), &n)
		if errors.Is(err, fs.ErrNotExist) {
			// A node that was being removed, or was never finished: its record goes first and comes last.
			if err := os.RemoveAll(f.node(e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].Created < nodes[j].Created })
	return nodes, nil
}
