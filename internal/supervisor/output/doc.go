// Package output brings what a program writes into its log file, and loses
// nothing when whoever does that is killed.
//
// The invariant: a byte is either in the program's pipe or in its log, never in
// the memory of a supervisor. One system call, splice, takes it out of the pipe and puts it into
// the file, so kill -9 finds it on one side or on the other. The log
// goes on where the file ends; nobody has to be told a position.
//
// # The pipe
//
// A program's output is a named pipe. The program has it open for reading
// and writing, so it gets no SIGPIPE when no supervisor is left, and what it wrote
// waits in the pipe for the next one. Only one process at a time may pump
// a pipe: two would each take a part of a line.
//
// # Rotation
//
// A log that has reached its size ends with the line that it is in: tee shows where the line ends without
// taking it, and a splice of exactly that length follows. Then LOG.1 becomes LOG.2 and so on, from the
// first gap down, LOG becomes LOG.1, and a new file gets the name LOG. Killed between any two of these,
// the next pump finds a gap or finds that its descriptor is no longer what LOG names; it closes the one and opens the
// other. So a file is removed only because there are more than Keep of them.
//
// # Drop rule
//
// While a log takes nothing (disk full, file system frozen), the output waits in the pipe and then the program waits. After Stall without
// progress whole lines are taken out of the pipe and counted instead; when
// the log takes bytes again a line in it says how many are missing.
//
// # Limits
//
// Linux only. Files are in place when the kernel has them, not when the disk has: a crash of the
// machine can lose the end of a log. A file system whose device hangs in the middle of a write holds the pipe's lock
// meanwhile, and then the program waits as if it wrote to that file itself, past Stall; a frozen file system does not.
package output
