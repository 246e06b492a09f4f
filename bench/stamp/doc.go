// Command stamp is what the measurements of revival start: the first thing it does
// is to take the time; then it writes "PID NANOSECONDS" of CLOCK_MONOTONIC to the
// named pipe in its argument and sleeps until it is killed.
package main
