// Package pairdir is where two processes of a pair meet: a folder with one name
// lock, one socket and a few small records for each name.
//
// # Invariant
//
// At most one living process holds a name in a folder. The holder is known by
// locks of the operating system that live exactly as long as its process; no pid
// file, no time stamp and no timer decides. Only the holder touches the socket
// of its name.
//
// # Locks
//
// On Linux a [Claim] holds two things at once: a classic POSIX record lock on
// KEY.lock, and an abstract socket named by user, folder and name. The record
// lock is free at the very moment of death and names its holder. It is lost when
// somebody removes the file; the abstract socket is not, so that a second
// claimer is still turned away until [Claim.Check] has put the file back. Other
// systems have the lock file alone: between its removal and the next Check there
// a second process can become holder too, and Check tells the loser so (ErrLost).
//
// An abstract socket belongs to a network namespace. Processes in different ones
// that share a folder have the record lock alone.
//
// # Records
//
// A record is one small JSON file, written aside and renamed into its place, so
// that a reader sees the old one or the new one and a writer may die at any
// instant. Disk space for the goodbyes is set aside when a name is claimed, so
// that they can be stored on a full disk. Records on a [Shelf] are stored more often,
// and on Linux the file of the record before is written again (~KEY.x.spare): a reader
// that was overtaken by two stores finds a wrong sum and reads again. Files in the
// folder:
//
//	KEY.lock                  the name lock; never removed, always empty
//	KEY.sock                  the socket (made and listened on by package ipc)
//	KEY.life                  the newest life of the name, and its generation
//	KEY.leave                 the announced end of that life
//	stop.KEY+KEY              the announced end of the pair
//	KEY.spawn                 what was started under the name, and by whom
//	KEY.hold                  judging and reviving suspended by a person
//	KEY.events.jsonl          the event log, with one older KEY.events.1.jsonl
//	KEY.log                   output of a revived peer, with one older KEY.log.1
//	KEY.dump                  what a hung peer said before it was killed
//	KEY.x.damaged             a record that could not be read, set aside
//	~KEY.N.reserve, ~*.tmp    disk space in reserve; a record being written
//
// # Limits
//
// Promises are per folder and per user. A process of the same user can defeat
// all of this. Everything is safe for concurrent use.
package pairdir
