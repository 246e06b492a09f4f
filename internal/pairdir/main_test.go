package pairdir

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// roleVariable makes a copy of the test binary play a part instead of testing.
const roleVariable = "PAIRDIR_TEST_ROLE"

// patience bounds every wait for another process.
const patience = 20 * time.Second

// roles are the parts; each prints lines and ends with the end of its input.
var roles = map[string]func(args []string){
	"claim": playClaim,
	"hold":  playHold,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		roles[role](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// playClaim DIR NAME: holds the name until the input ends.
func playClaim(args []string) {
	c, err := claimOf(args[0], args[1])
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("held", strings.Join(c.Notes(), " "))
	waitForEnd()
}

func claimOf(folder, name string) (*Claim, error) {
	d, err := Open(folder)
	if err != nil {
		return nil, err
	}
	n, err := d.Name(name)
	if err != nil {
		return nil, err
	}
	return d.Claim(n)
}

func waitForEnd() { _, _ = io.Copy(io.Discard, os.Stdin) }

// kid is another process with a part.
type kid struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string
	ended chan struct{}
}

func start(t *testing.T, env []string, role string, args ...string) *kid {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	k := &kid{t: t, cmd: exec.Command(exe, args...), lines: make(chan string, 64), ended: make(chan struct{})}
	k.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	k.cmd.Stderr = os.Stderr
	in, err := k.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.stdin = in
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			k.lines <- s.Text()
		}
		close(k.lines)
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	t.Cleanup(func() { _ = k.stdin.Close(); k.kill() })
	return k
}

// line returns the next line that the part prints; "" when it has ended.
func (k *kid) line() string {
	k.t.Helper()
	select {
	case l := <-k.lines:
		return strings.TrimSpace(l)
	case <-time.After(patience):
		k.t.Fatal("the other process says nothing")
		return ""
	}
}

func (k *kid) want(what, prefix string) {
	k.t.Helper()
	if l := k.line(); !strings.HasPrefix(l, prefix) {
		k.t.Fatalf("%s: want %q, got %q", what, prefix, l)
	}
}

// kill ends the process and waits until it is gone.
func (k *kid) kill() {
	_ = k.cmd.Process.Kill()
	go func() {
		for range k.lines {
		}
	}()
	<-k.ended
}

func (k *kid) pid() int { return k.cmd.Process.Pid }

func testDir(t *testing.T) *Dir {
	t.Helper()
	base, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	d, err := Open(filepath.Join(base, "d"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *Dir) mustName(t testing.TB, s string) Name {
	t.Helper()
	n, err := d.Name(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustClaim(t *testing.T, d *Dir, n Name) *Claim {
	t.Helper()
	c, err := d.Claim(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Release() })
	return c
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError checks that an error exists and names what it must name.
func wantError(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error", what)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error does not say %q: %v", what, w, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error has more than one line: %v", what, err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	mustDo(t, os.WriteFile(path, []byte(content), 0o600))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

var someProcess = proc.ID{BootID: "b", PID: 7, Start: 9}
