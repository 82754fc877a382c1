// Package faulttest holds the tests that break the real parts under load: tag servers killed at moments that they do not choose, Redis
// and the store gone for a while. They need redis-server, nutcracker and ferretdb, and are skipped, loudly, where one is missing.
// PATAG_SOAK=1 runs the full form.
package faulttest
