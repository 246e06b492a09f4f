package ipc

import (
	"context"
	"errors"
	"fmt"
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

func init() { roles["full"] = playFull }

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

func TestStaleSocket(t *testing.T) {
	a := newAddress(t)
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

// playFull accepts with no descriptor left, and then with one.
func playFull(a Address) error {
	l, err := Listen(a)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := Dial(context.Background(), a)
	if err != nil {
		return err
	}
	defer c.Close()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	none := unix.Rlimit{Cur: 3, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		return err
	}
	_, full := l.Accept()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		return err
	}
	second, err := l.Accept()
	if err != nil {
		return err
	}
	second.Close()
	fmt.Println(full)
	return nil
}

func TestListenerSurvivesTooManyOpenFiles(t *testing.T) {
	newPlayer(t, "full", newAddress(t), nil).want(t, "too many open files")
}
