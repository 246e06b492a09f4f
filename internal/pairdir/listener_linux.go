package pairdir

// listenerPID is who called listen() for the socket at path; 0 unknown.
func listenerPID(path string) int {
	cred, err := listenerOf(path)
	if err != nil {
		return 0
	}
	return int(cred.Pid)
}
