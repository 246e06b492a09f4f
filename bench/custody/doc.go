// Command custody proves that a program loses nothing when its supervisors are killed:
// it runs one that prints numbered lines, kills the active supervisor, the standby,
// and both, and stops each with SIGSTOP, again and again; at the end the program is
// the same process, its log has every line once and in order, and there are exactly
// two supervisors. `make custody` runs it. Linux only.
package main
