// Package soak holds the test that loads a tag server for a long time while its surroundings fail: one demand source hangs, one
// answers errors, Redis goes away, then the store. It needs redis-server, nutcracker and ferretdb, and is skipped, loudly, where one is
// missing. PATAG_SOAK=1 runs the full form, ten minutes; PATAG_LOAD_RATE sets another rate, PATAG_LOAD_TIME another time.
package soak
