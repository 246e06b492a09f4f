// Package proc starts, adopts, watches and ends processes by handle.
//
// What holds: a number (pid) alone never names a process. A [Handle] stands for
// one process from the moment it is opened, an [ID] for one process across
// restarts of the watcher, and neither can ever come to mean another process
// that got the same number later. Done is closed when the kernel has said that
// the whole process is dead, never earlier; a zombie is dead.
//
// # Cost
//
// On Linux a handle is a pidfd in one epoll set, which is itself a file of the
// Go poller: one goroutine for all handles, none when there are none, no thread
// and no timer. Nothing runs while nothing dies.
//
// On Windows the system's thread pool waits for up to 63 handles a thread; on macOS
// and FreeBSD one thread waits on a kqueue for all of them, while there are any.
//
// # Examination
//
// [Handle.Examine] looks, once, at what keeps a process from running: a debugger,
// a frozen cgroup, other processes. Linux only; nothing is looked at before.
//
// # Children
//
// On Unix a process started by [Start] is reaped by its handle when it ends, whether or
// not anybody still holds or has closed the handle. The host program may reap
// all of its children itself, or ignore SIGCHLD; then the exit status can be
// unknown, and nothing else changes.
//
// # Programs
//
// What supervisors need beyond a handle is for Linux: a [Tree] is all that a program
// has started and says when nothing of it is left, a [Cgroup] lets nothing get away,
// [Handle.Dup] is for another process, [BirthPipe] and [FindMarked] tell what became
// of a start whose starter died in the middle of it.
//
// # Testing
//
// With PAIRGUARD_TEST_WITHOUT=pidfd in the environment the package behaves as on
// a kernel without pidfds: children are waited for, other processes are looked
// at every 100 ms (see [Handle.Nudge]). It is read once and is for tests only.
package proc
