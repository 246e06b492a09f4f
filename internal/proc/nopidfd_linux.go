package proc

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What is done on kernels without pidfds. A process is its number and its start
// time; between checking the one and using the other there is a gap of some
// microseconds, in which a reused number would have to come round.

const (
	// lookEvery is how often a process that is not a child is looked at.
	lookEvery = 100 * time.Millisecond
	// lookFast is how often for nudgeTime after a Nudge.
	lookFast  = 2 * time.Millisecond
	nudgeTime = time.Second
)

// openByNumber is Open without pidfds.
func openByNumber(id ID) (*Handle, error) {
	s, err := readStat(id.PID)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", id.PID, err)
	}
	id.Start = s.start
	h := newHandle(id, -1, false)
	if s.dead() {
		h.finish(zombieStatus(id))
		return h, nil
	}
	go h.look()
	return h, nil
}

// look polls until the process is dead or the handle closed. One goroutine each.
func (h *Handle) look() {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	var fastUntil time.Time
	for !h.deadByNumber() {
		delay := lookEvery
		if time.Now().Before(fastUntil) {
			delay = lookFast
		}
		timer.Reset(delay)
		select {
		case <-timer.C:
		case <-h.sys.nudged:
			fastUntil = time.Now().Add(nudgeTime)
		case <-h.sys.stop:
			return
		}
	}
	h.finish(zombieStatus(h.id))
}

// deadByNumber reports whether the process is proved dead. Not being able to look
// (too many open files) proves nothing.
func (h *Handle) deadByNumber() bool {
	s, err := readStat(h.id.PID)
	if err != nil {
		return errors.Is(err, ErrGone)
	}
	return s.start != h.id.Start || s.dead()
}

// signalByNumber sends s unless the number belongs to another process by now; a
// child keeps its number until it is reaped, for which this holds the lock.
func (h *Handle) signalByNumber(s syscall.Signal) error {
	if h.deadByNumber() {
		return unix.ESRCH
	}
	return unix.Kill(h.id.PID, s)
}

// awaitChild waits for the end of a child whose pidfd is not watched, and reaps
// it. It takes a goroutine, and a thread, as long as the child lives. An error,
// ECHILD, says that the host program has reaped it; that it is gone is the proof.
func (h *Handle) awaitChild() {
	e, ended, _ := wait(unix.P_PID, h.id.PID, unix.WNOWAIT)
	for !ended && !h.deadByNumber() {
		time.Sleep(lookEvery)
	}
	h.finish(e)
	// Nobody may signal the number between the reaping and the next owner.
	h.sys.mu.Lock()
	_, _, _ = wait(unix.P_PID, h.id.PID, unix.WNOHANG)
	h.sys.mu.Unlock()
	h.release()
}
