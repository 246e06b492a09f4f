package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

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

func TestPeerOfBothSides(t *testing.T) {
	a := newAddress(t)
	other := newPlayer(t, "listen", a, nil)
	other.want(t, "ready")
	checkPeer(t, dial(t, a), other)

	b := newAddress(t)
	l := listen(t, b)
	other = newPlayer(t, "dial", b, nil)
	checkPeer(t, accept1(t, l), other)
}

// checkPeer wants c to end at other, kills it through the kernel's handle, and
// wants the end of the link, and of the process.
func checkPeer(t *testing.T, c *Conn, other *player) {
	t.Helper()
	p, err := c.Peer()
	must(t, err)
	if p.PID != other.process.Pid || p.UID != os.Geteuid() { // both users are -1 on Windows
		t.Fatalf("peer is process %d of user %d, want %d of %d", p.PID, p.UID, other.process.Pid, os.Geteuid())
	}
	must(t, p.Trusted())
	h, err := p.Open()
	must(t, err)
	defer h.Close()
	if h.PID() != p.PID {
		t.Fatalf("handle is on process %d, want %d", h.PID(), p.PID)
	}
	must(t, h.Kill())
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	if n, err := c.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read after the kill: %d, %v, want EOF", n, err)
	}
	<-h.Done()
	_, err = other.process.Wait()
	must(t, err)
	if err := sendUntilError(c); err != io.EOF {
		t.Errorf("send after the kill: %v, want EOF", err)
	}
	if _, err := p.Open(); !errors.Is(err, proc.ErrGone) {
		t.Errorf("opening a reaped peer: %v, want ErrGone", err)
	}
}

// sendUntilError sends until the end of the link is noticed, at the latest by the
// next Send when the first is still on its way.
func sendUntilError(c *Conn) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if err := c.Send([]byte("BEAT\n")); err != nil && !errors.Is(err, ErrBusy) {
			return err
		}
	}
	return nil
}

// A reader that is stopped makes Send drop whole lines; when it reads again it
// finds whole lines only, in order.
func TestSendNeverWaitsAndNeverTearsALine(t *testing.T) {
	a, b := newLink(t)
	must(t, shrink(a))
	line := func(i int) []byte { return []byte(fmt.Sprintf("BEAT %d %s\n", i, strings.Repeat("x", i*37%400))) }
	var accepted []byte
	sent := 0
	busy := 0
	for i := 0; busy < 50; i++ {
		switch err := a.Send(line(i)); {
		case err == nil:
			accepted = append(accepted, line(i)...)
			sent++
		case errors.Is(err, ErrBusy):
			busy++
		default:
			t.Fatal(err)
		}
		if i > 100000 {
			t.Fatal("the kernel takes everything")
		}
	}
	if len(a.kept) > MaxKept {
		t.Errorf("%d bytes are kept, want at most %d", len(a.kept), MaxKept)
	}
	got := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(b)
		got <- all
	}()
	deadline := time.Now().Add(patience)
	for i := 200000; len(a.kept) > 0; i++ { // what was kept goes out with later lines
		if a.Send(line(i)) == nil {
			accepted = append(accepted, line(i)...)
		}
		if time.Now().After(deadline) {
			t.Fatal("what was kept is never sent")
		}
	}
	drain(t, a)
	must(t, a.Close())
	if all := <-got; !bytes.Equal(all, accepted) {
		t.Errorf("%d bytes arrive, want exactly the %d that were accepted", len(all), len(accepted))
	}
}

func TestSendLimits(t *testing.T) {
	a, _ := newLink(t)
	if err := a.Send(make([]byte, MaxKept+1)); err == nil {
		t.Error("more than MaxKept bytes are accepted at once")
	}
	must(t, a.Send(make([]byte, MaxKept)))
}

func TestEOF(t *testing.T) {
	a, b := newLink(t)
	must(t, b.Send([]byte("unread\n"))) // closing with unread bytes is a reset to the other end
	must(t, a.Close())
	if n, err := b.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read from a closed link: %d, %v, want EOF", n, err)
	}
	if err := sendUntilError(b); err != io.EOF {
		t.Errorf("send on a closed link: %v, want EOF", err)
	}
	for what, err := range map[string]error{
		"Read":            second(a.Read(make([]byte, 1))),
		"Send":            a.Send([]byte("x\n")),
		"Close":           a.Close(),
		"SetReadDeadline": a.SetReadDeadline(time.Time{}),
		"Peer":            second(a.Peer()),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s at the closed end: %v, want os.ErrClosed", what, err)
		}
	}
	if _, err := (Peer{PID: 1, conn: a}).Open(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("opening the peer of a closed link: %v, want os.ErrClosed", err)
	}
}

func second[T any](_ T, err error) error { return err }

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
	must(t, a.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read: %v, want the deadline", err)
	}
	must(t, a.SetReadDeadline(time.Time{}))
	must(t, b.Send([]byte("x\n")))
	_, err := a.Read(make([]byte, 9))
	must(t, err)
}

func TestAbsent(t *testing.T) {
	a := newAddress(t)
	dialAbsent(t, "nothing", a)
	must(t, listen(t, a).Close())
	dialAbsent(t, "what has listened", a)
}

func dialAbsent(t *testing.T, what string, a Address) {
	t.Helper()
	if _, err := Dial(t.Context(), a); !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), string(a)) {
		t.Errorf("dialling %s: %v, want ErrAbsent naming the address", what, err)
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
			ctx, cancel := context.WithTimeout(context.Background(), patience)
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
