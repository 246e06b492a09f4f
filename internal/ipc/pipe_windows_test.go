package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

func TestPipe(t *testing.T) {
	a := Address(fmt.Sprintf(`\\.\pipe\pairguard-test-%d-名 a`, os.Getpid()))
	if os.Getenv("PAIRGUARD_TEST_ROLE") != "" {
		c, err := Dial(t.Context(), Address(os.Getenv("PAIRGUARD_TEST_ROLE")))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Read(make([]byte, 1)) // until killed
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if _, err := Dial(ctx, a); !errors.Is(err, ErrAbsent) {
		t.Fatalf("dialling nothing: %v, want ErrAbsent", err)
	}
	l, err := Listen(a)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestPipe$")
	cmd.Env = append(os.Environ(), "PAIRGUARD_TEST_ROLE="+string(a))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.Peer()
	if err != nil || p.Trusted() != nil {
		t.Fatalf("peer %v: %v, %v", p, err, p.Trusted())
	}
	h, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for err = nil; err == nil; { // it does not read on: never waits
		err = c.Send(make([]byte, 512))
	}
	if !errors.Is(err, ErrBusy) {
		t.Fatalf("sending to one that does not read: %v, want ErrBusy", err)
	}
	if err := h.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read after the kill: %v, want EOF", err)
	}
	select {
	case <-h.Done():
	case <-ctx.Done():
		t.Fatal("Done is not closed after the kill")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var addresses atomic.Int64

func newAddress(t *testing.T) Address {
	return Address(fmt.Sprintf(`\\.\pipe\pairguard-test-%d-%s-%d`, os.Getpid(), t.Name(), addresses.Add(1)))
}

func listen(t *testing.T, a Address) *Listener {
	t.Helper()
	l, err := Listen(a)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t *testing.T, a Address) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := Dial(ctx, a)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// newLink is both ends of a connection.
func newLink(t *testing.T) (dialled, accepted *Conn) {
	t.Helper()
	l := listen(t, newAddress(t))
	dialled = dial(t, l.address)
	accepted, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
	return dialled, accepted
}

func TestBytesGoBothWays(t *testing.T) {
	a, b := newLink(t)
	for _, way := range [][2]*Conn{{a, b}, {b, a}} {
		must(t, way[0].Send([]byte("BEAT 1\n")))
		buf := make([]byte, 100)
		n, err := way[1].Read(buf)
		if err != nil || string(buf[:n]) != "BEAT 1\n" {
			t.Errorf("read %q, %v, want the line", buf[:n], err)
		}
	}
}

func TestPeerOfBothSidesIsThisProcess(t *testing.T) {
	a, b := newLink(t)
	for _, c := range []*Conn{a, b} {
		p, err := c.Peer()
		must(t, err)
		must(t, p.Trusted())
		h, err := p.Open()
		must(t, err)
		h.Close()
		if p.PID != os.Getpid() || h.PID() != os.Getpid() {
			t.Errorf("peer is process %d, want this one, %d", p.PID, os.Getpid())
		}
	}
}

func TestHundredClientsAtOnce(t *testing.T) {
	l := listen(t, newAddress(t))
	const clients = 100
	said := make(chan error, clients)
	for i := range clients {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			c, err := Dial(ctx, l.address)
			if err == nil {
				defer c.Close()
				line := fmt.Sprintf("BEAT %d\n", i)
				if err = c.Send([]byte(line)); err == nil {
					answer := make([]byte, len(line))
					if _, err = io.ReadFull(c, answer); err == nil && string(answer) != line {
						err = fmt.Errorf("answer %q to %q", answer, line)
					}
				}
			}
			said <- err
		}()
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if errors.Is(err, os.ErrClosed) {
				return
			}
			if err != nil {
				t.Error(err)
				continue
			}
			serving.Go(func() {
				defer c.Close()
				buf := make([]byte, 100)
				if n, err := c.Read(buf); err == nil {
					_ = c.Send(buf[:n])
				}
				_, _ = c.Read(buf) // until the other end has read it
			})
		}
	})
	for range clients {
		if err := <-said; err != nil {
			t.Error(err)
		}
	}
	must(t, l.Close())
	serving.Wait()
}

// What was sent before Close arrives, as the kernel sees to elsewhere.
func TestGoodbyeArrives(t *testing.T) {
	for range 50 {
		a, b := newLink(t)
		must(t, a.Send([]byte("BYE leave\n")))
		must(t, a.Close())
		text, err := io.ReadAll(b)
		if err != nil || string(text) != "BYE leave\n" {
			t.Fatalf("got %q, %v, want the goodbye", text, err)
		}
		if err := a.Close(); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("a second Close: %v, want ErrClosed", err)
		}
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	a, _ := newLink(t)
	ended := make(chan error, 1)
	go func() { _, err := a.Read(make([]byte, 1)); ended <- err }()
	must(t, a.Close())
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read ended with %v, want ErrClosed", err)
	}
	if err := a.Send([]byte("BEAT 1\n")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Send after Close: %v, want ErrClosed", err)
	}
	l := listen(t, newAddress(t))
	go func() { _, err := l.Accept(); ended <- err }()
	must(t, l.Close())
	if err := <-ended; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Accept ended with %v, want ErrClosed", err)
	}
	if _, err := l.Accept(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Accept after Close: %v, want ErrClosed", err)
	}
	if err := l.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a second Close: %v, want ErrClosed", err)
	}
}

func TestReadDeadline(t *testing.T) {
	a, b := newLink(t)
	must(t, a.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read ended with %v, want ErrDeadlineExceeded", err)
	}
	must(t, a.SetReadDeadline(time.Time{}))
	must(t, b.Send([]byte("\n")))
	if _, err := a.Read(make([]byte, 1)); err != nil {
		t.Errorf("Read after the deadline: %v", err)
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

func TestSecondListenerIsRefusedAndToldOfTheFirst(t *testing.T) {
	a := newAddress(t)
	listen(t, a)
	_, err := Listen(a)
	if want := fmt.Sprintf("process %d listens there", os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want: %s", err, want)
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
