package pairdir

// lockFileAlone is the note of a claim without a tether. A tether is what keeps
// a name ours when its lock file is removed: on Linux an abstract socket.
const lockFileAlone = "no abstract sockets here: the name is held by its lock file alone, which must not be removed"
