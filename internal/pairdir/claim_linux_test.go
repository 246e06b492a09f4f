package pairdir

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/without"
)

func init() {
	roles["squat"] = playSquat
	roles["inherit"] = playInherit
	roles["sit"] = func([]string) { fmt.Println("sitting"); waitForEnd() }
	roles["die"] = playDie
}

// waysToHold: with the abstract socket, and with the lock file alone.
var waysToHold = map[string][]string{"abstract": nil, "lockfile": {without.Variable + "=abstract"}}

// playSquat ADDRESS UID listen|bind: sits on an abstract socket as another user.
func playSquat(args []string) {
	uid, _ := strconv.Atoi(args[1])
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil && uid != os.Getuid() {
		err = syscall.Setuid(uid)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: args[0]})
	}
	if err == nil && args[2] == "listen" {
		err = unix.Listen(fd, 1)
	}
	fmt.Println("squats", err)
	waitForEnd()
}

// playInherit DIR NAME: holds the name, with a child that has the socket too, as
// a child has between fork and exec.
func playInherit(args []string) {
	c, err := claimOf(args[0], args[1])
	if err != nil {
		fmt.Println("error", err)
		return
	}
	socket := c.tether.file
	exe, _ := os.Executable()
	sit := exec.Command(exe)
	sit.Env = append(os.Environ(), roleVariable+"=sit")
	sit.Stdin, sit.Stdout, sit.ExtraFiles = os.Stdin, os.Stdout, []*os.File{socket}
	if err := sit.Start(); err != nil {
		fmt.Println("error", err)
	}
	_ = sit.Wait()
}

// playDie DIR NAME leave|life: dies between the temporary file and the rename.
func playDie(args []string) {
	d, _ := Open(args[0])
	n, _ := d.Name(args[1])
	_, err := d.Claim(n)
	fmt.Println("claimed", err)
	d.disk.rename = func(string, string) error {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if args[2] == "leave" {
		_ = d.StoreLeave(n, Goodbye{})
	}
	_, _ = d.BeginLife(n, n, "")
}

// A hard link makes one lock file of two names; opening it would drop the lock.
func TestLinkedLockFileDoesNotDropTheLock(t *testing.T) {
	d := testDir(t)
	mustClaim(t, d, d.mustName(t, "procA"))
	mustDo(t, os.Link(d.Path()+"/procA.lock", d.Path()+"/procB.lock"))
	b := d.mustName(t, "procB")
	before := openFiles(t)
	if _, err := d.Claim(b); err == nil {
		t.Error("claimed through another name of a held file")
	}
	if h, err := d.Holder(b); err != nil || !h.Held {
		t.Errorf("%+v %v", h, err)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors became %d", before, after)
	}
	start(t, []string{without.Variable + "=abstract"}, "claim", d.Path(), "procA").want("still locked", "error name procA: taken")
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	mustDo(t, err)
	return len(entries)
}

func TestLockFileRemovedNeverTwoHolders(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "claim", d.Path(), "procA")
	k.want("free name", "held")
	for what, damage := range map[string]func() error{
		"lock file removed": func() error { return os.Remove(d.file(n, ".lock")) },
		"folder removed":    func() error { return os.RemoveAll(d.Path()) },
	} {
		mustDo(t, damage())
		if h, err := d.Holder(n); err != nil || h.PID != k.pid() {
			t.Errorf("%s: holder %+v %v", what, h, err)
		}
		_, err := d.Claim(n)
		var taken *TakenError
		if !errors.As(err, &taken) || taken.PID != k.pid() {
			t.Fatalf("%s: want taken by %d, got %v", what, k.pid(), err)
		}
	}
	k.kill()
	mustClaim(t, d, n)
}

func TestCheckHeals(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	check := func(what, want string) {
		t.Helper()
		healed, err := c.Check()
		if got := strings.Join(healed, "; "); err != nil || (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: healed %q, %v", what, got, err)
		}
		out := start(t, []string{without.Variable + "=abstract"}, "claim", d.Path(), "procA")
		out.want(what, "error name procA: taken by process "+strconv.Itoa(os.Getpid()))
	}
	check("nothing happened", "")
	mustDo(t, os.Remove(d.file(n, ".lock")))
	check("lock file removed", "lock file")
	mustDo(t, os.Rename(d.Path(), d.Path()+".away"))
	check("folder moved away", "folder")
	mustDo(t, os.Rename(d.file(n, ".lock"), d.Path()+"/moved"))
	check("lock file moved", "lock file")
	f, err := os.Open(d.file(n, ".lock")) // what a backup program in this process would do
	mustDo(t, err)
	mustDo(t, f.Close())
	check("lock dropped by a close", "")
	_ = c.tether.file.Close()
	check("abstract socket closed", "abstract socket")
	if len(c.Notes()) > 0 {
		t.Error(c.Notes())
	}
	mustDo(t, os.Rename(d.Path(), d.Path()+".gone"))
	put(t, d.Path(), "")
	_, err = c.Check()
	wantError(t, "a file in the folder's place", err, d.Path(), "not a directory")
}

func TestCheckTellsTheLoser(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	c.tether.release() // as if there were no abstract sockets
	c.tether = nil
	mustDo(t, os.Remove(d.file(n, ".lock")))
	k := start(t, []string{without.Variable + "=abstract"}, "claim", d.Path(), "procA")
	k.want("nothing in the way", "held")
	_, err := c.Check()
	if !errors.Is(err, ErrLost) {
		t.Fatalf("want ErrLost, got %v", err)
	}
	k.kill()
	if healed, err := c.Check(); err != nil || len(healed) == 0 {
		t.Fatalf("the other one is gone: %v %v", healed, err)
	}
}

// A holder in whose place the lock file was removed meets a claimer: it is not
// lost while the claimer is being turned away.
func TestClaimerIsNoIntruder(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c := mustClaim(t, d, n)
	if err := c.meet(heldError{pid: 1}); err != nil {
		t.Errorf("a claimer of an instant: %v", err)
	}
	c.since = time.Now().Add(-intruderLimit)
	if err := c.meet(heldError{pid: 1}); !errors.Is(err, ErrLost) {
		t.Errorf("somebody who stays: %v", err)
	}
	if err := c.meet(heldError{pid: 2}); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestSquattedAbstractSocket(t *testing.T) {
	for _, c := range []struct{ what, uid, how, note string }{
		{"by another user", "65534", "listen", "user 65534"},
		{"by another user who does not listen", "65534", "bind", "does not answer"},
		{"by this user, not listening", strconv.Itoa(os.Getuid()), "bind", "does not answer"},
	} {
		t.Run(c.what, func(t *testing.T) {
			if strings.Contains(c.what, "another user") && os.Getuid() != 0 {
				t.Skip("needs root to be another user")
			}
			d := testDir(t)
			n := d.mustName(t, "procA")
			k := start(t, nil, "squat", tetherName(d.Path(), n.Key()), c.uid, c.how)
			k.want("squatter", "squats <nil>")
			began := time.Now()
			claim := mustClaim(t, d, n)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("claim took %v", took)
			}
			notes := strings.Join(claim.Notes(), "; ")
			if !strings.Contains(notes, c.note) {
				t.Errorf("notes: %q", notes)
			}
			start(t, nil, "claim", d.Path(), "procA").want("held by lock file", "error name procA: taken")
			k.kill()
			healed, err := claim.Check()
			if err != nil || len(healed) != 1 || len(claim.Notes()) != 0 {
				t.Errorf("squatter gone: healed %v, notes %v, %v", healed, claim.Notes(), err)
			}
		})
	}
}

func TestChildBetweenForkAndExecIsWaitedFor(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "inherit", d.Path(), "procA")
	k.want("the child has the socket", "sitting")
	_ = k.cmd.Process.Kill()
	_, _ = k.cmd.Process.Wait()
	if held, _, err := holderOf(d.file(n, ".lock")); held || err != nil {
		t.Fatalf("the record lock outlives its process: %v", err)
	}
	if _, err := listenerOf(tetherName(d.Path(), n.Key())); err != nil {
		t.Fatalf("the child does not have the socket: %v", err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := d.Claim(n)
		if err == nil {
			err = c.Release()
		}
		done <- err
	}()
	_ = k.stdin.Close()
	if err := <-done; err != nil {
		t.Fatalf("not claimed after the child's end: %v", err)
	}
}

// A child that never execs may keep the dead one's socket as long as it likes; its
// parent may even be a zombie that nobody reaps.
func TestChildOfTheDeadKeepsTheSocket(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	k := start(t, nil, "inherit", d.Path(), "procA")
	k.want("the child has the socket", "sitting")
	h, err := proc.Open(k.pid())
	mustDo(t, err)
	defer h.Close()
	_ = k.cmd.Process.Kill()
	<-h.Done()
	if holder, err := d.Holder(n); holder.Held || err != nil {
		t.Errorf("a dead process is the holder: %+v %v", holder, err)
	}
	c := mustClaim(t, d, n)
	if notes := strings.Join(c.Notes(), ""); !strings.Contains(notes, "forked before it died") {
		t.Errorf("it is not said what is missing: %q", notes)
	}
	_ = k.stdin.Close() // the child ends
	for deadline := time.Now().Add(patience); len(c.Notes()) > 0; {
		if _, err := c.Check(); err != nil || time.Now().After(deadline) {
			t.Fatalf("the socket is not taken again: %v %v", c.Notes(), err)
		}
	}
}

func TestManyQuestionsDoNotFillTheSocket(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	mustClaim(t, d, n)
	for range 200 {
		if _, err := listenerOf(tetherName(d.Path(), n.Key())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLockDescriptorsCloseOnExec(t *testing.T) {
	d := testDir(t)
	c := mustClaim(t, d, d.mustName(t, "procA"))
	if flags, err := unix.FcntlInt(uintptr(c.lock.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Error("lock file", flags, err)
	}
	raw, err := c.tether.file.SyscallConn()
	mustDo(t, err)
	mustDo(t, raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Error("abstract socket", flags, err)
		}
	}))
}

func TestLockFileOfAnotherKind(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	path := d.file(n, ".lock")
	for what, make := range map[string]func() error{
		"a folder": func() error { return os.Mkdir(path, 0o700) },
		"a link":   func() error { return os.Symlink("/etc/passwd", path) },
		"a pipe":   func() error { return unix.Mkfifo(path, 0o600) },
	} {
		mustDo(t, make())
		_, err := d.Claim(n)
		wantError(t, what, err, path, "remove it")
		mustDo(t, os.Remove(path))
	}
	mustClaim(t, d, n)
}

func TestStaleSocket(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Dir(testDir(t).Path()))
	d := testDir(t)
	for _, s := range []string{"procA", "qt:procA"} {
		n := d.mustName(t, s)
		path := string(n.Address())
		c := mustClaim(t, d, n)
		mustDo(t, c.RemoveStaleSocket()) // there is none
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		mustDo(t, err)
		l.SetUnlinkOnClose(false)
		if n.PlainPermitted() {
			var taken *TakenError
			if err := c.RemoveStaleSocket(); !errors.As(err, &taken) || taken.PID != os.Getpid() || !exists(path) {
				t.Errorf("%s: a plain peer listens there: %v", s, err)
			}
		}
		mustDo(t, l.Close())
		mustDo(t, c.RemoveStaleSocket())
		if exists(path) {
			t.Errorf("%s: still there", s)
		}
		put(t, path, "precious")
		wantError(t, s, c.RemoveStaleSocket(), path, "something else")
		mustDo(t, c.Release())
		if err := c.RemoveStaleSocket(); !errors.Is(err, ErrNotHeld) || !exists(path) {
			t.Errorf("%s: removed without holding the name: %v", s, err)
		}
	}
}

func TestDeathBeforeTheRenameChangesNothing(t *testing.T) {
	d := testDir(t)
	n := d.mustName(t, "procA")
	c, err := d.Claim(n)
	mustDo(t, err)
	before, err := d.BeginLife(n, n, "")
	mustDo(t, err)
	mustDo(t, c.Release())
	for _, at := range []string{"leave", "life"} {
		k := start(t, nil, "die", d.Path(), "procA", at)
		k.want("dies while storing", "claimed <nil>")
		if l := k.line(); l != "" {
			t.Fatal(l)
		}
		<-k.ended
		if _, left, err := d.ReadLeave(n); left || err != nil {
			t.Errorf("a crash before the rename counts as a leave: %v", err)
		}
		if l, found, err := d.ReadLife(n); err != nil || !found || l.Generation != before.Generation {
			t.Errorf("life %+v %v %v", l, found, err)
		}
	}
	mustClaim(t, d, n)
	mustDo(t, d.StoreLeave(n, Goodbye{}))
	if g, left, err := d.ReadLeave(n); !left || err != nil || g.Generation != before.Generation {
		t.Errorf("%+v %v %v", g, left, err)
	}
}
