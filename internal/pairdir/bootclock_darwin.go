package pairdir

import "golang.org/x/sys/unix"

// bootClock is CLOCK_MONOTONIC in ns, which counts sleep on macOS,
// clock_gettime(3); 0 unknown.
func bootClock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}
