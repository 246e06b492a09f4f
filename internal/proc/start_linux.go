package proc

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts a process in a session of its own, with the null device as stdin.
// Its handle reaps it when it ends, even if it is closed or forgotten. When Start
// fails nothing runs.
func Start(s Spec) (*Handle, error) {
	id, err := here()
	if err != nil {
		return nil, err
	}
	pidfd := -1
	attr := &syscall.SysProcAttr{Setsid: true}
	if pidfds() == nil {
		attr.PidFD = &pidfd
	}
	id.PID, err = fork(s, attr)
	if err != nil {
		return nil, err
	}
	if pidfd < 0 && pidfds() == nil { // clone did not know the flag
		pidfd, err = unix.PidfdOpen(id.PID, 0)
		if err != nil {
			pidfd = -1
		}
	}
	// fork has just given its null device back, so there is a descriptor for this.
	// The child is not reaped yet, unless the host program does that, so the number is its own.
	if st, err := readStat(id.PID); err == nil {
		id.Start = st.start
	}
	h := newHandle(id, pidfd, true)
	if pidfd < 0 || deaths.add(h) != nil {
		go h.awaitChild() // it runs: whatever is missing, it gets a handle
	}
	return h, nil
}
