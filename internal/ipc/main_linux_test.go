package ipc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary runs again as the other end; roleVariable says what it does. It
// ends after a minute whatever happens.
const roleVariable = "PAIRGUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(98) })
		name, address, _ := strings.Cut(role, " ")
		if err := play(name, Address(address)); err != nil {
			fmt.Println("failed:", err)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	goleak.VerifyTestMain(m)
}

func play(name string, a Address) error {
	switch name {
	case "listen":
		l, err := Listen(a)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Println("accepted")
	case "dial":
		c, err := Dial(context.Background(), a)
		if err != nil {
			return err
		}
		defer c.Close()
		fmt.Println("connected")
	case "full":
		return playFull(a)
	}
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
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

// player is another process at the other end.
type player struct {
	process *os.Process
	in      *os.File
	out     *bufio.Reader
}

func newPlayer(t *testing.T, role string, a Address, attr *syscall.SysProcAttr) *player {
	t.Helper()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	exe := "/proc/self/exe"
	p, err := os.StartProcess(exe, []string{"player"}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), roleVariable+"="+role+" "+string(a)),
		Files: []*os.File{inR, outW, os.Stderr}, Sys: attr,
	})
	must(t, err)
	inR.Close()
	outW.Close()
	t.Cleanup(func() {
		_ = p.Kill()
		_, _ = p.Wait()
		inW.Close()
		outR.Close()
	})
	must(t, outR.SetReadDeadline(time.Now().Add(20*time.Second)))
	return &player{p, inW, bufio.NewReader(outR)}
}

func (p *player) want(t *testing.T, what string) {
	t.Helper()
	s, err := p.out.ReadString('\n')
	must(t, err)
	if s = strings.TrimSpace(s); !strings.Contains(s, what) {
		t.Fatalf("the other process says %q, want %q", s, what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newAddress is short enough for a socket wherever the temporary folder lies.
func newAddress(t *testing.T) Address {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return Address(filepath.Join(dir, "名 a"))
}

func listen(t *testing.T, a Address) *Listener {
	t.Helper()
	l, err := Listen(a)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, a Address) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := Dial(ctx, a)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func accept1(t *testing.T, l *Listener) *Conn {
	t.Helper()
	c, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	return c
}

// newLink is a connection within this process.
func newLink(t *testing.T) (dialled, accepted *Conn) {
	t.Helper()
	a := newAddress(t)
	l := listen(t, a)
	dialled = dial(t, a)
	must(t, dialled.SetReadDeadline(time.Now().Add(20*time.Second)))
	return dialled, accept1(t, l)
}
