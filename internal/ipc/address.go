package ipc

// Address is where a name listens: the path of a Unix socket, or the name of a
// pipe (\\.\pipe\...) on Windows. internal/pairdir makes them.
type Address string
