package e2e

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/pairguard/pairguard"
)

// endSession sends a process what the system sends its windows when the user logs
// off, and waits as the system does.
func endSession(pid int) {
	const wmEndSession, logoff, abortIfHung, patience = 0x16, 0x80000000, 2, 5000
	send := windows.NewLazySystemDLL("user32.dll").NewProc("SendMessageTimeoutW")
	each := windows.NewCallback(func(window windows.HWND, _ uintptr) uintptr {
		var owner uint32
		if _, err := windows.GetWindowThreadProcessId(window, &owner); err == nil && int(owner) == pid {
			_, _, _ = send.Call(uintptr(window), wmEndSession, 1, logoff, abortIfHung, patience, uintptr(unsafe.Pointer(new(uintptr))))
		}
		return 1 // go on
	})
	_ = windows.EnumWindows(each, nil)
}

// The end of a session ends one after the other, and none starts the other again.
// Whichever is started in the next session starts both.
func TestPairComesBackAfterTheEndOfTheSession(t *testing.T) {
	s := newScene(t)
	for range 2 {
		a := s.guard("procA", "procB")
		s.awaitUp("procA", "procB")
		b := s.open(s.holder("procB"))
		left, started := s.count("procA", pairguard.PeerLeft), s.count("procA", pairguard.PeerStarted)
		endSession(b.PID())
		s.gone(b)
		s.until("procA knows", func() bool { return s.count("procA", pairguard.PeerLeft) == left+1 })
		endSession(a.PID())
		s.ended(a, 0)
		if n := s.count("procA", pairguard.PeerStarted) - started; n != 0 {
			t.Errorf("%d starts at the end of the session", n)
		}
	}
	s.guard("procB", "procA") // the other one
	s.awaitUp("procA", "procB")
}
