package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
)

func init() {
	roles["active"] = playActive
	for name, play := range map[string]func(*Courier) error{
		"keeper": playKeeper, "sender": playSender, "crammed": playCrammed,
		"courier": func(*Courier) error { fmt.Println("connected"); return nil },
	} {
		roles[name] = func(a Address) error {
			c, err := DialCourier(context.Background(), a)
			if err == nil {
				err = play(c)
			}
			if err == nil {
				err = waitForEnd()
			}
			return err
		}
	}
}

// playKeeper uses what it is given, a pipe and a process, and gives something back.
func playKeeper(c *Courier) error {
	b, files, err := c.Receive()
	if err != nil {
		return err
	}
	if len(files) != 2 {
		return fmt.Errorf("%d files came with %q", len(files), b)
	}
	if _, err := files[0].WriteString("through " + string(b)); err != nil {
		return err
	}
	files[0].Close()
	h, err := proc.FromFile(files[1])
	if err != nil {
		return err
	}
	if err := h.Kill(); err != nil {
		return err
	}
	<-h.Done()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	if _, err := w.WriteString("back"); err != nil {
		return err
	}
	return c.Send([]byte(h.Exit().String()), r)
}

// record is the n-th one of a sender: each byte tells which.
func record(n int) []byte { return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, 1000) }

// playSender sends records with a file each until there is no room, tells how many,
// and goes on.
func playSender(c *Courier) error {
	for n := 0; ; n++ {
		if err := c.SetSendDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		err := c.Send(record(n), os.Stdin)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			fmt.Println(n)
			if err := c.SetSendDeadline(time.Time{}); err != nil {
				return err
			}
			err = c.Send(record(n), os.Stdin)
		}
		if err != nil {
			return err
		}
	}
}

// playCrammed receives with no descriptor left, and then with some.
func playCrammed(c *Courier) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	before := openFiles()
	limit, free := 0, 3 // too few for the files, and some
	for ; free > 0; limit++ {
		if !slices.Contains(before, limit) {
			free--
		}
	}
	few := unix.Rlimit{Cur: uint64(limit), Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &few); err != nil {
		return err
	}
	_, _, first := c.Receive()
	_, _, second := c.Receive()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	if after := openFiles(); len(after) != len(before) {
		return fmt.Errorf("%d descriptors are open, %d were", len(after), len(before))
	}
	b, files, err := c.Receive()
	fmt.Println(errors.Is(first, ErrNoDescriptors), errors.Is(second, ErrNoDescriptors), string(b), len(files), err)
	return nil
}

// openFiles lists the numbers of this process's descriptors.
func openFiles() (all []int) {
	for fd := range 1000 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			all = append(all, fd)
		}
	}
	return all
}

// playActive listens for streams and couriers, and gives both listeners away over
// the courier that comes first.
func playActive(a Address) error {
	streams, err := ListenStream(a)
	if err != nil {
		return err
	}
	couriers, err := ListenCourier(a + "c")
	if err != nil {
		return err
	}
	fmt.Println("ready")
	c, err := couriers.Accept()
	if err != nil {
		return err
	}
	one, err := streams.File()
	if err != nil {
		return err
	}
	two, err := couriers.File()
	if err != nil {
		return err
	}
	if err := c.Send([]byte("both"), one, two); err != nil {
		return err
	}
	return waitForEnd()
}

func listenCourier(t *testing.T, a Address) *CourierListener {
	t.Helper()
	l, err := ListenCourier(a)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func dialCourier(t *testing.T, a Address) *Courier {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := DialCourier(ctx, a)
	must(t, err)
	return bound(t, c)
}

func acceptCourier(t *testing.T, l *CourierListener) *Courier {
	t.Helper()
	c, err := l.Accept()
	must(t, err)
	return bound(t, c)
}

func bound(t *testing.T, c *Courier) *Courier {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReceiveDeadline(time.Now().Add(20*time.Second)))
	must(t, c.SetSendDeadline(time.Now().Add(20*time.Second)))
	return c
}

func newCouriers(t *testing.T) (dialled, accepted *Courier) {
	t.Helper()
	a := newAddress(t)
	l := listenCourier(t, a)
	return dialCourier(t, a), acceptCourier(t, l)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close(); w.Close() })
	must(t, r.SetReadDeadline(time.Now().Add(20*time.Second)))
	return r, w
}

// receiveOne wants a record with so many files, which are closed after the test.
func receiveOne(t *testing.T, c *Courier, files int) ([]byte, []*os.File) {
	t.Helper()
	b, got, err := c.Receive()
	must(t, err)
	t.Cleanup(func() {
		for _, f := range got {
			f.Close()
		}
	})
	if len(got) != files {
		t.Fatalf("%d files came with the record, want %d", len(got), files)
	}
	return b, got
}

func TestDescriptorsCrossAProcessBoundary(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("missing tool: sleep")
	}
	h, err := proc.Start(proc.Spec{Path: sleep, Args: []string{"60"}})
	must(t, err)
	defer func() { _ = h.Kill() }()
	pidfd, err := h.Dup()
	if errors.Is(err, proc.ErrNotSupported) {
		t.Skip(err)
	}
	must(t, err)
	a := newAddress(t)
	l := listenCourier(t, a)
	other := newPlayer(t, "keeper", a, nil)
	c := acceptCourier(t, l)
	peer, err := c.Peer()
	must(t, err)
	if peer.PID != other.process.Pid {
		t.Errorf("peer is process %d, want %d", peer.PID, other.process.Pid)
	}
	r, w := pipe(t)
	must(t, c.Send([]byte("名 1"), w, pidfd))
	must(t, pidfd.Close())
	must(t, w.Close())
	got, err := io.ReadAll(r) // to the end: the other end has closed its copy
	must(t, err)
	if string(got) != "through 名 1" {
		t.Errorf("the pipe carried %q", got)
	}
	<-h.Done()
	b, files := receiveOne(t, c, 1)
	if string(b) != "signal KILL" {
		t.Errorf("the other process saw the exit %q, want signal KILL", b)
	}
	back := make([]byte, 10)
	if n, err := files[0].Read(back); err != nil || string(back[:n]) != "back" {
		t.Errorf("the pipe that came back has %q %v", back[:n], err)
	}
}

// All that a process sent before it was killed arrives, whole and in order, and only
// then its end: also when it was killed in the middle of sending, and when it has
// left unread what was sent to it.
func TestRecordsOutliveTheirSender(t *testing.T) {
	a := newAddress(t)
	l := listenCourier(t, a)
	other := newPlayer(t, "sender", a, nil)
	c := acceptCourier(t, l)
	must(t, c.Send([]byte("never read")))
	var sent int
	line := <-other.lines
	if _, err := fmt.Sscan(line, &sent); err != nil || sent < 3 {
		t.Fatalf("the other process says %q, want a number of records", line)
	}
	must(t, other.process.Kill())
	_, err := other.process.Wait()
	must(t, err)
	for n := range sent {
		b, _ := receiveOne(t, c, 1)
		if !bytes.Equal(b, record(n)) {
			t.Fatalf("record %d has %d bytes that begin with %v", n, len(b), b[:2])
		}
	}
	for range 2 {
		if b, files, err := c.Receive(); err != io.EOF {
			t.Errorf("after record %d: %d bytes, %d files, %v, want EOF", sent-1, len(b), len(files), err)
		}
	}
	if err := c.Send([]byte("x")); err != io.EOF {
		t.Errorf("send to a dead process: %v, want EOF", err)
	}
}

func TestDescriptorsUsedUpAtTheReceiver(t *testing.T) {
	blocking, err := os.Open(os.DevNull)
	must(t, err)
	defer blocking.Close()
	nonblocking, _ := pipe(t) // takes one more for a moment
	for _, f := range []*os.File{blocking, nonblocking} {
		a := newAddress(t)
		l := listenCourier(t, a)
		other := newPlayer(t, "crammed", a, nil)
		c := acceptCourier(t, l)
		must(t, c.Send([]byte("ten"), f, f, f, f, f, f, f, f, f, f))
		other.want(t, "true true ten 10 <nil>")
	}
}

func TestCourierLimits(t *testing.T) {
	a, b := newCouriers(t)
	r, _ := pipe(t)
	most := make([]*os.File, MaxFiles)
	for i := range most {
		most[i] = r
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), MaxRecord/16)
	must(t, a.Send(big, most...))
	got, _ := receiveOne(t, b, MaxFiles)
	if !bytes.Equal(got, big) {
		t.Error("the largest record was changed on its way")
	}
	for what, err := range map[string]error{
		"nothing":        a.Send(nil),
		"too long":       a.Send(append(big, 1)),
		"too many files": a.Send([]byte("x"), append(most, r)...),
	} {
		if err == nil {
			t.Errorf("%s was sent", what)
		}
	}
	gone, _ := pipe(t)
	gone.Close()
	if err := a.Send([]byte("x"), r, gone); !errors.Is(err, os.ErrClosed) {
		t.Errorf("a closed file: %v, want ErrClosed", err)
	}
	must(t, a.Send([]byte("next")))
	if got, _ := receiveOne(t, b, 0); string(got) != "next" {
		t.Errorf("received %.20q, want what was sent after all the errors", got)
	}
}

// A full courier waits until the deadline, sends nothing by halves, and goes on when
// there is room.
func TestCourierThatIsFull(t *testing.T) {
	a, b := newCouriers(t)
	sent := 0
	for ; ; sent++ {
		must(t, a.SetSendDeadline(time.Now().Add(50*time.Millisecond)))
		err := a.Send(bytes.Repeat([]byte{byte(sent)}, 50_000))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		must(t, err)
	}
	if sent*50_000 < MaxRecord {
		t.Errorf("room for %d records of 50,000 bytes, want some", sent)
	}
	must(t, a.SetSendDeadline(time.Now().Add(20*time.Second)))
	done := make(chan error, 1)
	go func() { done <- a.Send([]byte("last")) }()
	for n := range sent {
		if got, _ := receiveOne(t, b, 0); len(got) != 50_000 || got[0] != byte(n) {
			t.Fatalf("record %d is %d bytes of %d", n, len(got), got[0])
		}
	}
	must(t, <-done)
	if got, _ := receiveOne(t, b, 0); string(got) != "last" {
		t.Errorf("received %.20q, want the last record", got)
	}
	must(t, b.SetReceiveDeadline(time.Now().Add(time.Millisecond)))
	if _, _, err := b.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("receive: %v, want that the deadline passed", err)
	}
	must(t, b.SetReceiveDeadline(time.Time{}))
	go func() {
		_, _, err := b.Receive()
		done <- err
	}()
	must(t, b.Close())
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("receive: %v, want that it was closed", err)
	}
	if _, _, err := a.Receive(); err != io.EOF {
		t.Errorf("receive at the other end: %v, want EOF", err)
	}
}

// What is only kept for another must not wake this process, and stays as it is.
func TestReceivedFilesAreNotPolled(t *testing.T) {
	a, b := newCouriers(t)
	path := filepath.Join(t.TempDir(), "fifo")
	must(t, unix.Mkfifo(path, 0o600))
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	must(t, err)
	reading := os.NewFile(uintptr(fd), path)
	defer reading.Close()
	writing, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer writing.Close()
	must(t, a.Send([]byte("x"), reading))
	_, files := receiveOne(t, b, 1)
	if err := files[0].SetReadDeadline(time.Now().Add(20 * time.Second)); !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("a deadline for the copy: %v, want none to be had without the poller", err)
	}
	if _, err := files[0].Read(make([]byte, 1)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("reading from the empty pipe: %v, want EAGAIN at once", err)
	}
	raw, err := files[0].SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		status, _ := unix.FcntlInt(fd, unix.F_GETFL, 0)
		flags, _ := unix.FcntlInt(fd, unix.F_GETFD, 0)
		if status&unix.O_NONBLOCK == 0 || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %#x %#x, want non-blocking and close-on-exec", status, flags)
		}
	}))
	_, err = writing.WriteString("line")
	must(t, err)
	got := make([]byte, 10)
	if n, err := files[0].Read(got); err != nil || string(got[:n]) != "line" {
		t.Errorf("the copy reads %q %v", got[:n], err)
	}
}

func TestCourierOfAnotherUserIsSentAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root to become another user")
	}
	a := newAddress(t)
	l := listenCourier(t, a)
	must(t, os.Chmod(filepath.Dir(string(a)), 0o755))
	must(t, os.Chmod(string(a), 0o666))
	other := newPlayer(t, "courier", a, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	if c, err := l.Accept(); !errors.Is(err, ErrUntrusted) {
		t.Errorf("accept: %v %v, want ErrUntrusted", c, err)
	}
	other.want(t, "connected") // root is trusted; what it makes of it is another matter
	if _, err := DialCourier(context.Background(), newAddress(t)); !errors.Is(err, ErrAbsent) {
		t.Errorf("dial where nobody listens: %v, want ErrAbsent", err)
	}
}
