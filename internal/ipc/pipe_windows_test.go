package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
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
	c, err := acceptFrom(l, cmd.Process.Pid)
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

// acceptFrom passes over the connection by which Listen wakes wine's first pipe.
func acceptFrom(l *Listener, pid int) (*Conn, error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		if p, err := c.Peer(); err == nil && p.PID == pid {
			return c, nil
		}
		c.Close()
	}
}
