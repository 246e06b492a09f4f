package proc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary runs again as the processes that the tests need; roleVariable
// says as which one. Whatever happens, such a process ends after a minute.
const roleVariable = "PAIRGUARD_TEST_ROLE"

func init() {
	if os.Getenv(roleVariable) == "leaderless" {
		runtime.LockOSThread() // main then runs on the thread that leads the group
	}
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		time.AfterFunc(time.Minute, func() { os.Exit(98) })
		play(role)
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	goleak.VerifyTestMain(m)
}

func play(role string) {
	name, argument, _ := strings.Cut(role, " ")
	switch name {
	case "wait":
		fmt.Println("ready")
		forever()
	case "exit":
		code, _ := strconv.Atoi(argument)
		os.Exit(code)
	case "report":
		report()
	case "leaderless":
		go func() { // as soon as it runs on another thread
			fmt.Println("ready")
			forever()
		}()
		syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "parent":
		playParent(argument)
	case "reaper":
		playReaper(argument)
	case "tracer":
		playTracer(argument)
	case "attacher":
		playAttacher(argument)
	case "spin":
		playSpinner(argument)
	default:
		playProgram(name, argument)
	}
}

func forever() {
	for range time.Tick(time.Hour) {
	}
}

// world is what a started process sees of itself.
type world struct {
	Args    []string
	Dir     string
	Env     []string
	Session int
	PID     int
	Stdin   string
	Stdout  string
	Fds     []string
}

func report() {
	dir, _ := os.Getwd()
	session, _ := unix.Getsid(0)
	w := world{Args: os.Args, Dir: dir, Env: os.Environ(), Session: session, PID: os.Getpid()}
	w.Stdin, _ = os.Readlink("/proc/self/fd/0")
	w.Stdout, _ = os.Readlink("/proc/self/fd/1")
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		target, _ := os.Readlink("/proc/self/fd/" + e.Name())
		w.Fds = append(w.Fds, e.Name()+" "+target)
	}
	_ = json.NewEncoder(os.Stdout).Encode(w)
}

// playParent starts a process in the role given, prints its number, and reaps it
// only when it reads a line.
func playParent(role string) {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{
		Env: []string{roleVariable + "=" + role}, Files: []uintptr{0, 2, 2}})
	fmt.Println(pid, err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var status syscall.WaitStatus
	_, err = syscall.Wait4(pid, &status, 0, nil)
	fmt.Println("reaped", err)
	forever()
}

// playReaper starts children while the program reaps all of its children itself
// ("wait4") or lets the kernel do it ("ignore").
func playReaper(how string) {
	if how == "ignore" {
		signal.Ignore(syscall.SIGCHLD)
	} else {
		go func() {
			for {
				if pid, _ := syscall.Wait4(-1, nil, 0, nil); pid < 0 {
					<-time.After(100 * time.Microsecond) // no children at the moment
				}
			}
		}()
	}
	for range 30 {
		h, err := Start(Spec{Path: "/proc/self/exe", Env: []string{roleVariable + "=exit 3"}})
		if err != nil {
			fmt.Println("start:", err)
			return
		}
		select {
		case <-h.Done():
		case <-time.After(10 * time.Second):
			fmt.Println("not done:", h.ID())
			return
		}
		if e := h.Exit(); e.Known && e.Code != 3 {
			fmt.Println("exit:", e)
			return
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; <-time.After(time.Millisecond) { // reaping follows Done
		children := childrenLeft()
		if len(children) == 0 {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("left: %s\n", children)
			return
		}
	}
	fmt.Println("fine")
}

// childrenLeft lists the children of all threads of this process.
func childrenLeft() []byte {
	var all []byte
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range lists {
		b, _ := os.ReadFile(name)
		all = append(all, b...)
	}
	return all
}

// playTracer traces the process whose number it is given until it reads a line.
func playTracer(number string) {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(number)
	fmt.Println(unix.PtraceSeize(pid))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// playAttacher stops the process whose number it is given, as a debugger does.
func playAttacher(number string) {
	runtime.LockOSThread()
	pid, _ := strconv.Atoi(number)
	fmt.Println(unix.PtraceAttach(pid))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// playSpinner uses as many processors as it is told to.
func playSpinner(threads string) {
	n, _ := strconv.Atoi(threads)
	runtime.GOMAXPROCS(n + 1)
	fmt.Println("ready")
	for range n {
		go func() {
			runtime.LockOSThread()
			for x := uint(1); x != 0; x |= 1 { // never ends
			}
		}()
	}
	forever()
}

// player is a process that plays a role with pipes to the test; not started by
// the package that is tested.
type player struct {
	process *os.Process
	in      *os.File
	out     *bufio.Reader
}

func newPlayer(t *testing.T, role string) *player {
	t.Helper()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	p, err := os.StartProcess("/proc/self/exe", []string{"player"}, &os.ProcAttr{
		Env:   append(os.Environ(), roleVariable+"="+role),
		Files: []*os.File{inR, outW, os.Stderr},
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

func (p *player) line(t *testing.T) string {
	t.Helper()
	s, err := p.out.ReadString('\n')
	must(t, err)
	return strings.TrimSpace(s)
}

// number reads "PID <nil>".
func (p *player) number(t *testing.T) int {
	t.Helper()
	var pid int
	var failure string
	if _, err := fmt.Sscan(p.line(t), &pid, &failure); err != nil || failure != "<nil>" {
		t.Fatalf("player did not start its child: %v %s", err, failure)
	}
	return pid
}

func (p *player) goOn(t *testing.T) {
	t.Helper()
	_, err := p.in.WriteString("\n")
	must(t, err)
}

// startRole starts a process by the package; it is killed at the end of the test.
func startRole(t *testing.T, role string) *Handle {
	t.Helper()
	h, err := Start(roleSpec(role))
	must(t, err)
	t.Cleanup(func() {
		_ = h.Kill()
		wantDone(t, h)
		wantReaped(t, h.ID())
		h.Close()
	})
	return h
}

func roleSpec(role string) Spec {
	return Spec{Path: "/proc/self/exe", Env: append(os.Environ(), roleVariable+"="+role)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantDone(t *testing.T, h *Handle) {
	t.Helper()
	select {
	case <-h.Done():
	case <-time.After(20 * time.Second):
		t.Fatalf("%v: Done is not closed, want proof of its death", h.ID())
	}
}

func wantAlive(t *testing.T, h *Handle) {
	t.Helper()
	if h.isDone() {
		t.Fatalf("%v: Done is closed, want alive", h.ID())
	}
}

func wantGone(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrGone) {
		t.Fatalf("error is %v, want ErrGone", err)
	}
}

// wantReaped waits until the process has left the process table.
func wantReaped(t *testing.T, id ID) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v is reaped", id), func() bool {
		s, err := readStat(id.PID)
		return err != nil || s.start != id.Start
	})
}

// eventually waits for what no event announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}
