package pairdir

import "golang.org/x/sys/unix"

// bootClock is CLOCK_BOOTTIME (Linux 2.6.39) in ns; 0 unknown.
func bootClock() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}
