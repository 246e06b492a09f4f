// Package ipc connects two processes of one machine, and tells each by the
// kernel's word who is at the other end. It knows nothing of what is said.
//
// What holds: neither sending nor anything else but Accept, Dial and Read waits
// for the other end, so a stopped peer cannot stop this process; what was sent
// arrives in whole lines or not at all; and a peer is who the kernel says that it
// is, never who it claims to be.
//
// # Systems
//
// Unix sockets with SO_PEERCRED and SO_PEERPIDFD on Linux, LOCAL_PEERCRED and
// LOCAL_PEERPID on macOS, LOCAL_PEERCRED on FreeBSD; named pipes on Windows. The
// accepting side learns who connected. The connecting side learns who called
// listen() last on that socket, even if another process has taken it over since.
//
// # Beyond links
//
// A [Stream] is a connection that waits, unlike a [Conn]; a [Courier] (Linux) carries
// records with open files. What was sent by one arrives, whole, also when its sender
// is dead, before the end is told. The listeners of both can be given to another
// process, which goes on with them.
//
// # Testing
//
// With PAIRGUARD_TEST_WITHOUT=peerpidfd in the environment the package behaves as
// on a Linux before 6.5. It is read once and is for tests only.
package ipc
