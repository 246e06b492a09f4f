// Command starve takes away the processor from real pairs, in every way that a
// machine has, and looks whether anybody is judged that could not run: 256 busy
// processes; the least scheduling class beside busy processes of the highest
// priority; a cgroup whose quota is used up; the guard itself, and both, in that
// place. In each of them, a deadlocked and a stopped member must be replaced all
// the same. docs/benchmarks.md says what is checked; the last two are played at the
// same time, each with a load of its own, so that all of it takes four times as long
// as one is watched.
//
// It exits with 1 when one was judged that had no chance to speak, or one was not
// that had it. Linux and root only: what cannot be made here is left out, and that
// is said.
package main
