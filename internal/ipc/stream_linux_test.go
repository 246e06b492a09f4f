package ipc

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

func dialStream(t *testing.T, a Address) *Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := DialStream(ctx, a)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	must(t, s.SetDeadline(time.Now().Add(20*time.Second)))
	return s
}

// A listener outlives the process that made it: nobody who connects is turned away,
// before, between and after, and from the adoption on the kernel names the heir.
func TestListenersOutliveTheirProcess(t *testing.T) {
	a := newAddress(t)
	active := newPlayer(t, "active", a, nil)
	active.want(t, "ready")
	link := dialCourier(t, a+"c")
	_, files := receiveOne(t, link, 2)
	before := dialStream(t, a)
	must(t, active.process.Kill())
	_, err := active.process.Wait()
	must(t, err)
	between := dialStream(t, a)
	if p, err := between.Peer(); err != nil || p.PID == os.Getpid() {
		t.Errorf("before the adoption the peer is %v %v, want the dead one", p, err)
	}
	streams, err := AdoptStream(files[0], a)
	must(t, err)
	defer streams.Close()
	couriers, err := AdoptCourier(files[1], a+"c")
	must(t, err)
	defer couriers.Close()
	after := dialStream(t, a)
	if p, err := after.Peer(); err != nil || p.PID != os.Getpid() {
		t.Errorf("after the adoption the peer is %v %v, want this process", p, err)
	}
	for i, s := range []*Stream{before, between, after} {
		_, err := s.Write([]byte{byte(i)})
		must(t, err)
		accepted, err := streams.Accept()
		must(t, err)
		defer accepted.Close()
		must(t, accepted.SetDeadline(time.Now().Add(20*time.Second)))
		b := make([]byte, 2)
		if n, err := accepted.Read(b); err != nil || n != 1 || b[0] != byte(i) {
			t.Errorf("connection %d reads %v %v", i, b[:n], err)
		}
	}
	second := dialCourier(t, a+"c")
	if p, err := second.Peer(); err != nil || p.PID != os.Getpid() {
		t.Errorf("the courier's peer is %v %v, want this process", p, err)
	}
	must(t, acceptCourier(t, couriers).Send([]byte("on")))
	if b, _ := receiveOne(t, second, 0); string(b) != "on" {
		t.Errorf("the new courier carried %q", b)
	}
	if _, err := AdoptStream(files[0], a); err == nil {
		t.Error("a file that was taken over can be taken over again")
	}
}

// A stream waits with what does not fit, unlike a link, but not beyond its deadline.
func TestStreamWaitsForRoom(t *testing.T) {
	a := newAddress(t)
	l, err := ListenStream(a)
	must(t, err)
	defer l.Close()
	dialled := dialStream(t, a)
	accepted, err := l.Accept()
	must(t, err)
	defer accepted.Close()
	must(t, accepted.SetReadDeadline(time.Now().Add(20*time.Second)))

	const size = 4 << 20
	must(t, dialled.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	first, err := dialled.Write(make([]byte, size))
	if !errors.Is(err, os.ErrDeadlineExceeded) || first == 0 || first == size {
		t.Fatalf("wrote %d bytes to one who does not read: %v, want some, and that the deadline passed", first, err)
	}
	must(t, dialled.SetWriteDeadline(time.Now().Add(20*time.Second)))
	written := make(chan error, 1)
	go func() {
		_, err := dialled.Write(make([]byte, size-first))
		written <- errors.Join(err, dialled.Close())
	}()
	n, err := io.Copy(io.Discard, accepted)
	if err != nil || n != size {
		t.Errorf("read %d bytes, %v, want %d", n, err, size)
	}
	must(t, <-written)
	if _, err := dialled.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after the close: %v, want ErrClosed", err)
	}
	if _, err := writeUntilError(accepted); err != io.EOF {
		t.Errorf("write to one that is gone: %v, want EOF", err)
	}
	must(t, l.Close())
	if _, err := l.Accept(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("accept after the close: %v, want ErrClosed", err)
	}
}

func writeUntilError(s *Stream) (n int, err error) {
	for range 10 {
		if n, err = s.Write([]byte("x")); err != nil {
			return n, err
		}
	}
	return n, nil
}
