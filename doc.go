// Package pairguard lets two processes on one machine keep each other alive.
//
// The invariant: of each name there is at most one live holder, and nothing is
// started in place of a process that has not been proved dead.
//
// Each process is a [Member] of the pair: it holds the lock of its own name,
// listens on a local socket below that name, dials the other one and sends
// heartbeats. When the peer dies, the kernel says so at once; when it hangs, its
// silence does. Either way the guard makes sure that the old process is gone
// (fence) and only then starts it again (revive). An end that was announced
// ([Member.Leave], [Member.Stop]) is never answered.
//
// The shortest form has the three parameters of the Qt class that the idea
// comes from:
//
//	err := pairguard.Guard(ctx, "procA", "procB", "./procB")
//
// [New] with a [Config] gives everything else.
//
// # Liveness
//
// A heartbeat that the library sends by itself proves that the process is
// scheduled, no more. A program whose main loop may hang calls [Member.Beat]
// from that loop, or sets [Config.Healthy]; from then on heartbeats follow the
// application, and a deadlocked one is replaced.
//
// # Cancellation
//
// Cancelling the context of [Member.Run] is a leave: this process goes, the peer
// stays and does not bring it back. Run returns when the goodbye is stored.
//
// # What the library never does
//
// It never exits the process, installs no signal handler, changes neither umask
// nor working directory nor environment, starts no thread per peer, and never
// waits for children that are not its own.
//
// # Limits
//
// Both processes killed in the same instant need an outer anchor to come back.
// A process of the same user can always defeat it: this is reliability, not
// protection against tampering. Promises are per folder ([Config.Dir]).
package pairguard
