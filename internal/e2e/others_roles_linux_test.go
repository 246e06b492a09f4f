package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// nobody is the other user whom the tests start as root.
const nobody = 65534

// intruder is the word with which the test binary runs again as that user:
//
//	intruder DEED ARGUMENT...
//
// It prints lines and ends when its input does.
const intruder = "intruder"

func init() {
	if len(os.Args) < 3 || os.Args[1] != intruder {
		return
	}
	time.AfterFunc(roleLimit, func() { os.Exit(98) })
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
		time.AfterFunc(time.Second, func() { os.Exit(0) })
	}()
	deeds[os.Args[2]](ctx, os.Args[3:])
	os.Exit(0)
}

// deeds are what the other user tries.
var deeds = map[string]func(ctx context.Context, args []string){
	"folder":  tryFolder,
	"squat":   squat,
	"connect": tryConnect,
	"flood":   flood,
	"listen":  listenFirst,
}

// tryFolder ADDRESS tries everything that one can do with somebody's folder.
func tryFolder(_ context.Context, args []string) {
	dir := args[0]
	in := func(name string) string { return filepath.Join(dir, name) }
	report := func(what string, err error) {
		if err == nil {
			fmt.Println("succeeded:", what)
		}
	}
	_, err := os.ReadDir(dir)
	report("reads the folder", err)
	for _, name := range []string{"procA.life", "procA.lock", "procA.events.jsonl", "procB.log", "procA.sock"} {
		_, err = os.ReadFile(in(name))
		report("reads "+name, err)
		report("removes "+name, os.Remove(in(name)))
		report("replaces "+name, os.WriteFile(in(name), nil, 0o600))
	}
	report("plants a stop", os.WriteFile(in("stop.procA+procB"), nil, 0o644))
	report("plants a leave", os.WriteFile(in("procB.leave"), nil, 0o644))
	report("plants a link", os.Symlink("/etc/passwd", in("procB.log")))
	report("plants a hard link", os.Link("/etc/passwd", in("procC.lock")))
	report("renames the folder", os.Rename(dir, dir+"2"))
	report("removes the folder", os.Remove(dir))
	report("opens the folder", os.Chmod(dir, 0o777))
	for _, pid := range args[1:] {
		n, _ := strconv.Atoi(pid)
		report("kills "+pid, syscall.Kill(n, syscall.SIGKILL))
		report("stops "+pid, syscall.Kill(n, syscall.SIGSTOP))
		_, err = os.ReadFile("/proc/" + pid + "/environ")
		report("reads the environment of "+pid, err)
	}
	fmt.Println("done")
}

// squat ADDRESS... listens on abstract sockets and answers nothing.
func squat(ctx context.Context, args []string) {
	for _, name := range args {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		defer l.Close()
	}
	fmt.Println("done")
	<-ctx.Done()
}

// tryConnect ADDRESS speaks as the peer and prints what it is answered.
func tryConnect(_ context.Context, args []string) {
	conn, err := net.Dial("unix", args[0])
	if err != nil {
		fmt.Println("done: no connection")
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HELLO 1 self=procB peer=procA pid=%d gen=9 heartbeat_ms=1000 health=ok\nBYE stop reason=intruder\nLOOK\n", os.Getpid())
	conn.SetReadDeadline(time.Now().Add(stage.Patience))
	answer, _ := bufio.NewReader(conn).ReadString('\n')
	fmt.Printf("done: %q\n", answer)
}

// flood ADDRESS... connects and talks as fast as it can, from many sides.
func flood(ctx context.Context, args []string) {
	for _, address := range args {
		for range 4 {
			go pour([]byte(strings.Repeat("LOOK\nping", 1000)))(ctx, address)
		}
		go crowd(200)(ctx, address)
	}
	fmt.Println("done")
	<-ctx.Done()
}

// listenFirst ADDRESS takes an address before its owner does, lets everybody in
// and prints whatever it is told.
func listenFirst(ctx context.Context, args []string) {
	l, err := net.Listen("unix", args[0])
	if err != nil {
		fmt.Println("failed:", err)
		return
	}
	defer l.Close()
	os.Chmod(args[0], 0o777)
	fmt.Println("done")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprintf(conn, "HELLO 1 self=procB peer=procA pid=%d gen=9 heartbeat_ms=1000 health=ok\nBEAT 1 health=ok age_ms=0\n", os.Getpid())
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Println("told:", lines.Text())
				}
			}()
		}
	}()
	<-ctx.Done()
}

// stranger is the other user at work.
type stranger struct {
	t     *trial
	lines chan string
	leave func()
}

// stranger starts the other user with a deed, and waits for his first line.
func (t *trial) stranger(deed string, args ...string) (s *stranger, said string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to start another user")
	}
	inR, inW, err := os.Pipe()
	t.must(err)
	outR, outW, err := os.Pipe()
	t.must(err)
	// Through /proc he can run what lies in a folder that he cannot enter. He is
	// none of the stage's processes, but ends with the test's pipe.
	process, err := os.StartProcess("/proc/self/exe", append([]string{"e2e", intruder, deed}, args...), &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{inR, outW, os.Stderr},
		Sys: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
	})
	t.must(err)
	inR.Close()
	outW.Close()
	s = &stranger{t: t, lines: make(chan string, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(s.lines)
		defer outR.Close()
		for lines := bufio.NewScanner(outR); lines.Scan(); {
			select {
			case s.lines <- lines.Text():
			default:
			}
		}
		process.Wait()
	}()
	gone := false
	s.leave = func() {
		if !gone {
			gone = true
			inW.Close()
			<-ended
		}
	}
	t.Cleanup(s.leave)
	return s, s.line()
}

func (s *stranger) line() string {
	s.t.Helper()
	select {
	case line := <-s.lines:
		return line
	case <-time.After(stage.Patience):
		s.t.Fatal("the other user says nothing")
		return ""
	}
}

func skipUnlessRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to start another user")
	}
}
