// Package supervisor guards programs that know nothing of pairguard: two processes,
// an active one that starts, watches, stops and logs the programs, and a standby
// that holds a copy of everything that the active one holds.
//
// The invariants it keeps:
//   - At most one supervisor acts in a folder: the holder of the name lock
//     ActiveName, which the kernel frees at its death.
//   - Whoever acts knows of every process that was started for a program: the
//     intent is with the standby, or on the disk where there is no standby, before
//     the fork.
//   - What a program prints is never in the memory of a supervisor on its way to
//     the log.
//
// # The way of the data
//
// Ends of processes, requests, the custody link and timers reach one goroutine, the
// loop, as functions in its inbox. It asks two kinds of pure machines: one
// lifecycle.Machine for each program, and one custody.Machine that knows who acts
// and what the standby has acknowledged. Their actions go to the starter (fork and
// search), the scribe (records on the disk), the custody link and the pump (output),
// which run aside and answer into the inbox.
//
// The two supervisors are an ordinary pair of package pairguard: it judges, fences
// and revives them.
package supervisor
