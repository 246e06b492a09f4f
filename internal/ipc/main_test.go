package ipc

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary runs again as the other end; roleVariable says what it does. It
// ends after a minute whatever happens.
const roleVariable = "PAIRGUARD_TEST_ROLE"

// patience bounds every wait for another process.
const patience = 20 * time.Second

// roles are what the other end can be. Each prints lines; those that return nil
// stay until their input ends.
var roles = map[string]func(a Address) error{"listen": playListen, "dial": playDial}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(98) })
		name, address, _ := strings.Cut(role, " ")
		if err := roles[name](Address(address)); err != nil {
			fmt.Println("failed:", err)
		}
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	goleak.VerifyTestMain(m)
}

func playListen(a Address) error {
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
	return waitForEnd()
}

func playDial(a Address) error {
	c, err := Dial(context.Background(), a)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Println("connected")
	return waitForEnd()
}

func waitForEnd() error {
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// player is another process at the other end.
type player struct {
	process *os.Process
	lines   chan string // closed at its end
}

func newPlayer(t *testing.T, role string, a Address, attr *syscall.SysProcAttr) *player {
	t.Helper()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	exe, err := os.Executable()
	must(t, err)
	if runtime.GOOS == "linux" {
		exe = "/proc/self/exe" // another user gets in, too
	}
	process, err := os.StartProcess(exe, []string{"player"}, &os.ProcAttr{
		Dir: "/", Env: append(os.Environ(), roleVariable+"="+role+" "+string(a)),
		Files: []*os.File{inR, outW, os.Stderr}, Sys: attr,
	})
	must(t, err)
	inR.Close()
	outW.Close()
	p := &player{process, make(chan string, 16)}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for s := bufio.NewScanner(outR); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		_ = process.Kill()
		_, _ = process.Wait()
		<-read
		inW.Close()
		outR.Close()
	})
	return p
}

func (p *player) want(t *testing.T, what string) {
	t.Helper()
	select {
	case s := <-p.lines:
		if !strings.Contains(s, what) {
			t.Fatalf("the other process says %q, want %q", s, what)
		}
	case <-time.After(patience):
		t.Fatalf("the other process says nothing, want %q", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
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
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	return c
}

// newLink is a connection within this process.
func newLink(t *testing.T) (dialled, accepted *Conn) {
	t.Helper()
	a := newAddress(t)
	l := listen(t, a)
	dialled = dial(t, a)
	must(t, dialled.SetReadDeadline(time.Now().Add(patience)))
	return dialled, accept1(t, l)
}
