package pairdir

import "golang.org/x/sys/windows"

// bootClock is GetTickCount64 in ns, which counts sleep.
func bootClock() int64 { return int64(windows.DurationSinceBoot()) }
