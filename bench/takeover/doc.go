// Command takeover measures what becomes of supervisors when one of them is killed:
// how long after kill -9 of the active one the other serves, and how long until both
// are there again and everything is in custody. The measure of the second is the time
// that a Go program takes to start, taken in the same run: a new supervisor has to be
// started. The programs must not notice anything.
//
// It exits with 1 when a goal was missed or a program is not the process that it was.
package main
