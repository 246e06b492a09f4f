// Command thousand puts many programs under one pair of supervisors and measures what
// each of them costs: memory and threads of both supervisors, and how long it takes
// until all are back that were killed at once, as a multiple of what bareloop, the
// smallest supervisor that there can be, takes for as many in the same run. Then the
// active supervisor is killed: no program may notice.
//
// It exits with 1 when a goal was missed.
package main
