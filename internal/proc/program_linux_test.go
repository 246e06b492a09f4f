package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// markVariable marks the processes of one test, so that all of them are found again.
const markVariable = "PAIRGUARD_TEST_MARK"

// playProgram plays the programs that supervisors have to do with.
func playProgram(name, argument string) {
	switch name {
	case "family":
		playFamily()
	case "between":
		playBetween()
	case "storm":
		playStorm(argument)
	case "unburied":
		playUnburied()
	case "oom":
		playOOM()
	case "limit":
		h, err := Start(Spec{Path: "/bin/sh", Args: []string{"-c", "ulimit -Sn"}, Stdout: os.Stdout})
		if err != nil {
			fmt.Println(err)
			return
		}
		<-h.Done()
	case "birth":
		playBirth(func(_ *os.File, fork func()) { fork() })
	case "forkerbirth":
		f, err := NewForker()
		if err != nil {
			fmt.Println("0 0", err)
			return
		}
		playBirth(func(write *os.File, fork func()) {
			if f.Hold(write) == nil {
				_ = f.do(nil, func([]int) { fork() })
			}
		})
	}
}

const (
	// depthVariable counts how many processes of this file started each other.
	depthVariable = "PAIRGUARD_TEST_DEPTH"
	// maxDepth keeps a mistake in a role from becoming a fork bomb.
	maxDepth = 6
)

// roleEnv is this process's environment for a child in another role. The variables
// are replaced: of two equal names the first would count, and the child would do what
// this process does. Too deep, it ends this process.
func roleEnv(role string) []string {
	depth, _ := strconv.Atoi(os.Getenv(depthVariable))
	if depth >= maxDepth {
		os.Exit(97)
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, roleVariable+"=") || strings.HasPrefix(e, depthVariable+"=")
	})
	return append(env, roleVariable+"="+role, fmt.Sprint(depthVariable, "=", depth+1))
}

// startAs starts this test binary in a role, in this process's session or one of
// its own, with its stdin and no output.
func startAs(role string, session bool) int {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer null.Close()
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{
		Env:   roleEnv(role),
		Files: []uintptr{0, null.Fd(), 2}, Sys: &syscall.SysProcAttr{Setsid: session},
	})
	if err != nil {
		fmt.Println("failed:", err)
	}
	return pid
}

// playFamily starts a child in its group, one that leads a session, and one in a
// session below a process that can be told to end: the two halves of a double fork.
// It tells their numbers.
func playFamily() {
	plain, session := startAs("wait", false), startAs("wait", true)
	between, err := os.StartProcess("/proc/self/exe", []string{"between"}, &os.ProcAttr{
		Env: roleEnv("between"), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Println("failed:", err)
		return
	}
	fmt.Println(plain, session, between.Pid)
	_, _ = between.Wait()
	fmt.Println("alone")
	forever()
}

// playBetween is the process in the middle; it ends when it reads a line.
func playBetween() {
	fmt.Println("grandchild", startAs("wait", true))
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

// playStorm is a tree that grows while it is felled.
func playStorm(argument string) {
	if depth, _ := strconv.Atoi(argument); depth > 0 {
		for range 2 {
			startAs(fmt.Sprint("storm ", depth-1), true)
		}
	}
	forever()
}

// playUnburied leaves the group, but not before it has a child there that has ended
// and that it never reaps.
func playUnburied() {
	pid := startAs("exit 0", false)
	for {
		if s, err := readStat(pid); err == nil && s.state == 'Z' {
			break
		}
		<-time.After(time.Millisecond)
	}
	_, err := unix.Setsid()
	fmt.Println(os.Getpid(), err)
	forever()
}

func playOOM() {
	// Below the score that it was started with needs root.
	if err := errors.Join(writeOOMScore("900"), LowerOOMScore(950), LowerOOMScore(500)); err != nil {
		fmt.Println(err)
		return
	}
	h, err := Start(Spec{Path: "/bin/cat", Args: []string{oomFile}, Stdout: os.Stdout})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-h.Done()
	own, _ := os.ReadFile(oomFile)
	fmt.Printf("%s", own)
}

// playBirth makes a birth pipe and a child that is between its fork and its exec
// until it reads a byte, and tells the number of the read end and of the child.
func playBirth(where func(write *os.File, fork func())) {
	read, write, err := BirthPipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	path, argv, envv := []byte("/bin/cat\x00"), []byte("cat\x00"), []byte(markVariable+"="+os.Getenv(markVariable)+"\x00")
	pid := 0
	where(write, func() {
		pid = forkHeld(&held{
			path: &path[0], argv: [2]*byte{&argv[0], nil}, envv: [2]*byte{&envv[0], nil},
		})
	})
	_ = withFd(read, func(fd uintptr) error {
		fmt.Println(fd, pid)
		return nil
	})
	forever()
	write.Close()
}

// held is what a held child needs; it may not ask for memory.
type held struct {
	told [1]byte
	path *byte
	argv [2]*byte
	envv [2]*byte
}

// forkHeld forks with no exec to follow at once. The child has one thread of the Go
// runtime and makes system calls alone.
//
//go:norace
func forkHeld(h *held) int {
	pid, _, number := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if pid != 0 || number != 0 {
		return int(pid)
	}
	syscall.RawSyscall(syscall.SYS_READ, 0, uintptr(unsafe.Pointer(&h.told[0])), 1)
	syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(h.path)), uintptr(unsafe.Pointer(&h.argv[0])), uintptr(unsafe.Pointer(&h.envv[0])))
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// program is a process that the package started as it starts programs.
type program struct {
	*Handle
	in  *os.File
	out *bufio.Reader
}

// startProgram starts a role with pipes; the whole mark of it is ended after the test.
func startProgram(t *testing.T, role string, group *Cgroup) (p *program, mark string) {
	t.Helper()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	mark = fmt.Sprintf("%s.%d.%d", t.Name(), os.Getpid(), time.Now().UnixNano())
	spec := roleSpec(role)
	spec.Env = append(spec.Env, markVariable+"="+mark)
	inR.Fd() // makes it blocking
	spec.Stdin, spec.Stdout, spec.Stderr = inR, outW, os.Stderr
	if group != nil {
		spec.Cgroup, err = group.Open()
		must(t, err)
		defer spec.Cgroup.Close()
	}
	h, err := Start(spec)
	must(t, err)
	inR.Close()
	outW.Close()
	must(t, outR.SetReadDeadline(time.Now().Add(20*time.Second)))
	t.Cleanup(func() {
		_ = h.Kill()
		wantDone(t, h)
		h.Close()
		inW.Close()
		outR.Close()
		wantNoneMarked(t, mark)
	})
	return &program{h, inW, bufio.NewReader(outR)}, mark
}

func (p *program) line(t *testing.T) string {
	t.Helper()
	s, err := p.out.ReadString('\n')
	must(t, err)
	return strings.TrimSpace(s)
}

// wantNoneMarked ends what a test has left, and calls that an error.
func wantNoneMarked(t *testing.T, mark string) {
	t.Helper()
	left, err := FindMarked(markVariable, mark)
	must(t, err)
	for _, h := range left {
		t.Errorf("%v of this test is left", h.ID())
		_ = h.Kill()
		wantDone(t, h)
		h.Close()
	}
}

// openAll opens the processes with these numbers, which live.
func openAll(t *testing.T, numbers ...string) (all []*Handle) {
	t.Helper()
	for _, number := range numbers {
		pid, err := strconv.Atoi(number)
		must(t, err)
		h, err := Open(pid)
		must(t, err)
		t.Cleanup(func() {
			_ = h.Kill()
			wantDone(t, h)
			h.Close()
		})
		all = append(all, h)
	}
	return all
}

func lookPath(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("missing tool: %s", name)
	}
	return path
}
