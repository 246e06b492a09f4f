// Package stage is where real pairs are put on: by the tests with real processes
// and by the measurements. It starts pairguard's command in a folder of its own,
// watches the pair as an outsider, and leaves nothing behind.
//
// # Invariant
//
// What an [Observer] says rests on the kernel alone: on the record locks of the
// name lock files (F_GETLK) and on /proc. It calls nothing of pairguard, so that
// a mistake there cannot hide itself here.
//
// [Supervisors] speak with pairguard's own client: they see what people see.
//
// # Limits
//
// Linux only. A process belongs to a [Stage] when it has inherited the stage's
// variable in its environment.
package stage
