package pairdir

import "time"

// SinceBoot is the time since the machine was started, sleep included: the same to
// every process, and no person sets it. Where no such clock is known it is the wall
// clock's.
func SinceBoot() time.Duration {
	if ns := bootClock(); ns != 0 {
		return time.Duration(ns)
	}
	return time.Duration(time.Now().UnixNano())
}
