package ipc

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

func TestSecondListenerIsRefusedAndToldOfTheFirst(t *testing.T) {
	a := newAddress(t)
	listen(t, a)
	_, err := Listen(a)
	if want := fmt.Sprintf("process %d listens there", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want: %s", err, want)
	}
}

// newAddress is free and not in ASCII.
func newAddress(t *testing.T) Address {
	return Address(fmt.Sprintf(`\\.\pipe\pairguard-test-%d-%s-名 %d`, os.Getpid(), t.Name(), addresses.Add(1)))
}

var addresses atomic.Int64

// shrink does nothing: the pipe's buffer is small.
func shrink(*Conn) error { return nil }

// drain waits until the pipe has what Send took.
func drain(t *testing.T, c *Conn) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		c.stream.mu.Lock()
		writing := c.writing
		c.stream.mu.Unlock()
		if !writing {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("what was sent is never taken")
		}
	}
}

// unserved makes a pipe of the user that exists and that nobody serves, as that of
// a dead process does while a client keeps its handle.
func unserved(t *testing.T, a Address, user string) {
	t.Helper()
	i, err := newInstanceOf(a, windows.FILE_CREATE, user)
	must(t, err)
	t.Cleanup(i.close)
	client, err := openPipe(a)
	must(t, err)
	t.Cleanup(func() { _ = windows.CloseHandle(client) })
	_, err = windows.WaitForSingleObject(i.event, 20000)
	must(t, err)
	must(t, windows.DisconnectNamedPipe(i.pipe))
}

func TestPipeOfADeadProcessIsJoined(t *testing.T) {
	a := newAddress(t)
	own, err := userOf(windows.CurrentProcess())
	must(t, err)
	unserved(t, a, own.String())
	l := listen(t, a)
	dial(t, a)
	_, err = l.Accept()
	must(t, err)
}

func TestPipeOfAnotherUserIsNotJoined(t *testing.T) {
	a := newAddress(t)
	unserved(t, a, "S-1-5-19") // LOCAL SERVICE
	if _, err := Listen(a); err == nil || !strings.Contains(err.Error(), "S-1-5-19") {
		t.Errorf("got %v, want an error that names the user", err)
	}
}

func TestPipeIsForThisUserAlone(t *testing.T) {
	l := listen(t, newAddress(t))
	sd, err := windows.GetSecurityInfo(l.free[0].pipe, windows.SE_KERNEL_OBJECT,
		windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	must(t, err)
	own, err := userOf(windows.CurrentProcess())
	must(t, err)
	// GA is mapped to FA, all rights that a file has; not by wine.
	text := strings.ReplaceAll(sd.String(), ";GA;", ";FA;")
	if want := "O:" + own.String() + "D:P(A;;FA;;;" + own.String() + ")(A;;FA;;;SY)"; text != want {
		t.Errorf("the pipe's security descriptor is %s, want %s", text, want)
	}
}

func TestAddresses(t *testing.T) {
	for _, a := range []Address{"", "x", `\\.\pipe\`, Address(pipePrefix + strings.Repeat("x", maxPipe))} {
		if _, err := Listen(a); err == nil {
			t.Errorf("listening at %.20q: no error", a)
		}
		if _, err := Dial(t.Context(), a); err == nil {
			t.Errorf("dialling %.20q: no error", a)
		}
	}
}

func TestNameIsFreeAfterClose(t *testing.T) {
	a := newAddress(t)
	for range 10 {
		l, err := Listen(a)
		must(t, err)
		must(t, l.Close())
	}
	if _, err := Dial(t.Context(), a); !errors.Is(err, ErrAbsent) {
		t.Errorf("dialling a closed listener: %v, want ErrAbsent", err)
	}
}
