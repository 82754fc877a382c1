// Package price tells roughly what things cost, for people who decide whether to keep them. The numbers are list prices of
// region europe-west1 in US dollars without tax and discounts ("VM instance pricing", "Network pricing" and "Disk pricing" of
// Google Cloud's price list, read in 2026); spot prices change monthly. It is an estimate and says so; the bill is Google's.
package price

import (
	"strconv"
	"strings"
)

// rate of a machine family: dollars an hour for a vCPU and for a GB of memory.
type rate struct{ cpu, memory, spotCPU, spotMemory float64 }

var families = map[string]rate{
	"n1":  {0.034773, 0.004661, 0.00732, 0.00098},
	"n2":  {0.034773, 0.004661, 0.00841, 0.00113},
	"n2d": {0.030255, 0.004055, 0.00728, 0.00098},
	"n4":  {0.033174, 0.003765, 0.01327, 0.00151},
	"e2":  {0.023989, 0.003215, 0.00720, 0.00096},
	"t2d": {0.030255, 0.004055, 0.00728, 0.00098},
	"c3":  {0.037550, 0.005030, 0.00900, 0.00120},
}

// Hourly prices beside machines.
const (
	// ForwardingRules are up to five of them together.
	ForwardingRules = 0.025
	// ClusterFee of GKE; one zonal cluster of a billing account is free of it.
	ClusterFee = 0.10
	diskGB     = 0.10 / 730 // balanced persistent disk
)

// Machine is a machine's price for an hour; known is false for a type whose shape is not in its name.
func Machine(kind string, spot bool) (hourly float64, known bool) {
	parts := strings.Split(kind, "-")
	r, ok := families[parts[0]]
	if !ok || len(parts) < 3 {
		return 0, false
	}
	var cpus, memory float64
	n, err := strconv.ParseFloat(parts[len(parts)-1], 64)
	if err != nil {
		return 0, false
	}
	cpus = n
	switch parts[1] {
	case "standard":
		memory = 4 * n
		if parts[0] == "n1" {
			memory = 3.75 * n
		}
	case "highcpu":
		memory = n
		if parts[0] == "n1" {
			memory = 0.9 * n
		} else if parts[0] == "c3" || parts[0] == "n4" {
			memory = 2 * n
		}
	case "highmem":
		memory = 8 * n
		if parts[0] == "n1" {
			memory = 6.5 * n
		}
	case "custom":
		if len(parts) != 4 {
			return 0, false
		}
		if cpus, err = strconv.ParseFloat(parts[2], 64); err != nil {
			return 0, false
		}
		memory = n / 1024
	default:
		return 0, false
	}
	if spot {
		return cpus*r.spotCPU + memory*r.spotMemory, true
	}
	return cpus*r.cpu + memory*r.memory, true
}

// Disk is the price of so many GB for an hour.
func Disk(gb float64) float64 { return gb * diskGB }
