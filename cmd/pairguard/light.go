package main

import (
	"runtime"
	"runtime/debug"
)

// beLight makes a guard or a supervisor as small as Go allows: it may live for years
// beside the programs that do the work.
func beLight() {
	// The live heap is well below a megabyte; the collector's default would let it
	// grow to four before it looks.
	debug.SetGCPercent(20)
	// One loop does all the work, so more processors only bring more threads and
	// more wake-ups of each other: an idle pair made 33 voluntary context switches
	// a second, and makes 25 so.
	runtime.GOMAXPROCS(1)
	shedCode()
}

// hurry is for a supervisor that takes over: it is not to wait until it has started the
// other one again, which a second processor does meanwhile.
func hurry(on bool) {
	n := 1
	if on {
		n = min(2, runtime.NumCPU())
	}
	runtime.GOMAXPROCS(n)
}
