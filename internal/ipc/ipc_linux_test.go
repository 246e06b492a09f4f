package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/without"
)

// TestWithoutPeerPidfds runs all tests of the package again as on old kernels.
func TestWithoutPeerPidfds(t *testing.T) {
	if without.Feature("peerpidfd") {
		t.Skip("this is that run")
	}
	for _, features := range []string{"peerpidfd", "peerpidfd,pidfd"} {
		cmd := exec.Command("/proc/self/exe", "-test.count=1")
		cmd.Env = append(os.Environ(), without.Variable+"="+features)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("without %s: %v\n%s", features, err, out)
		}
	}
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
	if p.PID != other.process.Pid || p.UID != os.Geteuid() {
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
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
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

func sendUntilError(c *Conn) error {
	for range 10 {
		if err := c.Send([]byte("BEAT\n")); err != nil {
			return err
		}
	}
	return nil
}

// The kernel names the process that called listen(), also to one that connects to
// a socket that another process has inherited: after its death it is gone, not
// taken for the heir.
func TestPeerIsWhoCalledListen(t *testing.T) {
	a := newAddress(t)
	l := listen(t, a)
	p, err := dial(t, a).Peer()
	must(t, err)
	if p.PID != os.Getpid() {
		t.Errorf("peer is process %d, want this one, %d", p.PID, os.Getpid())
	}
	accept1(t, l)
}

func TestYoungerProcessIsNotThePeer(t *testing.T) {
	a := newAddress(t)
	l := listen(t, a)
	newPlayer(t, "dial", a, nil).want(t, "connected")
	c := accept1(t, l)
	p, err := c.Peer()
	must(t, err)
	c.made = 1 // as if the number had been used again since
	if _, err := p.openByNumber(); !errors.Is(err, proc.ErrGone) {
		t.Errorf("opening a process younger than the link: %v, want ErrGone", err)
	}
}

func TestForeignUserIsNotTrusted(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	a := newAddress(t)
	l := listen(t, a)
	// What the folder's mode prevents is permitted here, to see the second barrier.
	must(t, os.Chmod(string(a)[:strings.LastIndex(string(a), "/")], 0o755))
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	newPlayer(t, "dial", a, nobody).want(t, "permission denied: it belongs to another user")
	must(t, os.Chmod(string(a), 0o666))
	other := newPlayer(t, "dial", a, nobody)
	other.want(t, "connected")
	p, err := accept1(t, l).Peer()
	must(t, err)
	err = p.Trusted()
	if !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "65534") || p.PID != other.process.Pid {
		t.Errorf("trust in process %d of user %d: %v, want ErrUntrusted naming user 65534", p.PID, p.UID, err)
	}
}

func TestTrust(t *testing.T) {
	for uid, trusted := range map[int]bool{os.Geteuid(): true, 0: true, -1: false, 4711: false} {
		if err := (Peer{UID: uid, PID: 7}).Trusted(); (err == nil) != trusted {
			t.Errorf("trust in user %d: %v, want trusted %v", uid, err, trusted)
		}
	}
	if _, err := (Peer{}).Open(); err == nil {
		t.Error("opening nobody succeeds")
	}
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
	deadline := time.Now().Add(20 * time.Second)
	for i := 200000; len(a.kept) > 0; i++ { // what was kept goes out with later lines
		if a.Send(line(i)) == nil {
			accepted = append(accepted, line(i)...)
		}
		if time.Now().After(deadline) {
			t.Fatal("what was kept is never sent")
		}
	}
	must(t, a.Close())
	if all := <-got; !bytes.Equal(all, accepted) {
		t.Errorf("%d bytes arrive, want exactly the %d that were accepted", len(all), len(accepted))
	}
}

// shrink makes the kernel's buffer so small that it takes parts of what is sent.
func shrink(c *Conn) error {
	var err error
	if failed := c.raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, 1) }); failed != nil {
		return failed
	}
	return err
}

func TestSendLimits(t *testing.T) {
	a, _ := newLink(t)
	if err := a.Send(make([]byte, MaxKept+1)); err == nil {
		t.Error("more than MaxKept bytes are accepted at once")
	}
	must(t, a.Send(make([]byte, MaxKept)))
}

// A process that is stopped does not stop us: not by not reading, and not by not
// accepting.
func TestStoppedListener(t *testing.T) {
	a := newAddress(t)
	other := newPlayer(t, "listen", a, nil)
	other.want(t, "ready")
	must(t, other.process.Signal(syscall.SIGSTOP))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	var conns []*Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for {
		c, err := Dial(ctx, a)
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrAbsent) {
				t.Fatalf("dialling a stopped process: %v, want the deadline", err)
			}
			break
		}
		conns = append(conns, c)
		if len(conns) > 10*backlog {
			t.Fatal("connections are accepted without end")
		}
	}
	for {
		err := conns[0].Send(make([]byte, 512))
		if errors.Is(err, ErrBusy) {
			break
		}
		must(t, err)
	}
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
	l := listen(t, newAddress(t))
	ended := make(chan error)
	go func() { _, err := a.Read(make([]byte, 1)); ended <- err }()
	go func() { _, err := l.Accept(); ended <- err }()
	must(t, a.Close())
	must(t, l.Close())
	for range 2 {
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("waiting ends with %v, want os.ErrClosed", err)
		}
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
	l := listen(t, a)
	must(t, l.Close())
	if _, err := os.Lstat(string(a)); err != nil {
		t.Errorf("after Close: %v, want the socket's file left to its owner", err)
	}
	dialAbsent(t, "a stale socket", a)
	if _, err := Listen(a); !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("listening at a stale socket: %v, want what to do", err)
	}
}

func dialAbsent(t *testing.T, what string, a Address) {
	t.Helper()
	if _, err := Dial(t.Context(), a); !errors.Is(err, ErrAbsent) || !strings.Contains(err.Error(), string(a)) {
		t.Errorf("dialling %s: %v, want ErrAbsent naming the address", what, err)
	}
}

func TestAddresses(t *testing.T) {
	dir := strings.TrimSuffix(string(newAddress(t)), "名 a")
	longest := Address(dir + strings.Repeat("x", maxPath-len(dir)))
	l := listen(t, longest)
	dial(t, longest)
	accept1(t, l)
	for _, c := range []struct {
		a   Address
		say string
	}{
		{longest + "x", "allows 107"},
		{"", "absolute path"},
		{"@abstract", "absolute path"},
		{"relative", "absolute path"},
		{"/a\x00b", "absolute path"},
	} {
		_, err := Listen(c.a)
		_, err2 := Dial(t.Context(), c.a)
		for _, err := range []error{err, err2} {
			if err == nil || !strings.Contains(err.Error(), c.say) || errors.Is(err, ErrAbsent) {
				t.Errorf("address %q: %v, want %q", c.a, err, c.say)
			}
		}
	}
	if _, err := Listen(Address(dir + "none/x")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "folder") {
		t.Errorf("listening in a missing folder: %v, want what to do", err)
	}
}

func TestSocketIsForThisUserAlone(t *testing.T) {
	for _, mask := range []int{0, 0o777} {
		a := newAddress(t)
		old := unix.Umask(mask)
		l, err := Listen(a)
		unix.Umask(old)
		must(t, err)
		defer l.Close()
		info, err := os.Lstat(string(a))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("with umask %o the socket has mode %v, want 0600", mask, info.Mode())
		}
	}
}

func TestListenerSurvivesTooManyOpenFiles(t *testing.T) {
	newPlayer(t, "full", newAddress(t), nil).want(t, "too many open files")
}
