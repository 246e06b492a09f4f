// Package supervisors runs the real machines of the two supervisors (lifecycle and custody) in one simulated, faulty world, and checks
// promise P7 at every step and when everything has come to rest: kill -9 of either of them, at any instant, does not stop, restart,
// double or silence a program, and loses no byte of its output. It is for tests alone.
//
// Nothing in it is concurrent and nothing reads a clock: a run is a function of its seed. A supervisor is a process that does one small
// thing after another and can be killed or stopped between any two of them; around it are a kernel in small (processes between fork
// and exec, handles, the lock of the active one, a link with a bounded queue, named pipes, open files), a disk that is slow, full, or
// both, programs that write numbered lines, and people with wishes who ask again when nobody answered.
//
//   - faults.go   what can go wrong, and how often
//   - world.go    time, and what happens next
//   - kernel.go   processes of programs, births, pipes, logs
//   - process.go  supervisors as processes: birth, death, standing still, and the library that revives them
//   - link.go     the custody link
//   - driver.go   what stands between custody and its system, as the real one
//   - programs.go what stands between the lifecycles and their system, as the real one
//   - output.go   pipe to log, and rotation
//   - client.go   people
//   - check.go    the promises
//   - broken.go   variants that break one promise each
//   - run.go      many runs, and shrinking one that failed
package supervisors
