//go:build !linux && !darwin && !windows

package pairdir

// bootClock is unknown: no clock here is known to count sleep. The wall clock
// decides.
func bootClock() int64 { return 0 }
