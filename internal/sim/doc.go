// Package sim runs both members' real state machines (protocol.Machine) in one
// simulated, faulty world, and checks the promises of the pair at every step and
// when everything has come to rest. It is for tests alone.
//
// Nothing in it is concurrent and nothing reads a clock: a run is a function of
// its seed. The world is an operating system in small: processes that take time to
// die, locks that are freed while they do, handles, sockets, a folder with its
// records, a scheduler that lets processes stand still, and a person who kills,
// stops, holds, leaves and starts at any instant. Time is that of a clock that
// stands still while the machine is suspended.
//
//   - faults.go   what can go wrong, and how often
//   - world.go    the queue of what happens next
//   - process.go  processes: birth, death, standing still
//   - limbo.go    why a process stands still, and what shows of it
//   - socket.go   connections
//   - folder.go   name locks and records
//   - driver.go   what stands between a machine and its system, as the real one
//   - plain.go    a peer like the Qt class, and an impostor
//   - operator.go the person
//   - check.go    the promises
//   - broken.go   variants that break one promise each
//   - run.go      many runs, and shrinking one that failed
//   - explore.go  all interleavings of a few happenings instead of random ones
package sim
