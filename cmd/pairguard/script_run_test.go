package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pairguard/pairguard/internal/proc"
)

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := runCode(ts, args[1:]); got != want {
		ts.Fatalf("pairguard %q: exit code %d, want %d", args[1:], got, want)
	}
}

// runCode runs pairguard and returns its exit code.
func runCode(ts *testscript.TestScript, args []string) int {
	err := ts.Exec("pairguard", args...)
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("pairguard %q: %v", args, err)
	}
	return exit.ExitCode()
}

var oneErrorLine = regexp.MustCompile(`^pairguard: [^\n]+\n$`)

func cmdUsage(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	if got := runCode(ts, args[1:]); got != exitUsage {
		ts.Fatalf("pairguard %q: exit code %d, want %d", args[1:], got, exitUsage)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("a usage error prints results: %q", out)
	}
	line := ts.ReadFile("stderr")
	if !oneErrorLine.MatchString(line) || !regexp.MustCompile(args[0]).MatchString(line) {
		ts.Fatalf("want one line that matches %q, got %q", args[0], line)
	}
	if !strings.HasSuffix(line, " --help'\n") {
		ts.Fatalf("the line does not say where help is: %q", line)
	}
}

func cmdAgain(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	h := worldOf(ts).cast[args[1]]
	deadline := time.After(scriptDeadline)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-h.Done():
			return
		case <-tick.C:
			ts.Check(h.Signal(scriptSignals[args[0]]))
		case <-deadline:
			ts.Fatalf("%s (pid %d) does not end", args[1], h.PID())
		}
	}
}

// cmdDropReader starts a command with a pipe for its output and closes the
// reading end at once, as a terminal that is closed or `| head` does.
func cmdDropReader(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	r, w, err := os.Pipe()
	ts.Check(err)
	defer w.Close()
	h, err := proc.Start(proc.Spec{
		Path: lookPath(ts, args[0]), Args: args[1:], Dir: ts.MkAbs("."), Env: environ(ts), Output: w,
	})
	ts.Check(err)
	ts.Check(r.Close())
	worldOf(ts).cast["dropreader"] = h // reaped by its handle
}

// cmdInterruptDemo plays the demo up to a line and presses Ctrl-C.
func cmdInterruptDemo(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	stop := regexp.MustCompile(args[0])
	cmd := exec.Command(lookPath(ts, "pairguard"), "demo")
	cmd.Env = environ(ts)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	watchdog := time.AfterFunc(scriptDeadline, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	var pids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		for _, m := range regexp.MustCompile(`pid (\d+)`).FindAllStringSubmatch(lines.Text(), -1) {
			pids = append(pids, m[1])
		}
		if stop.MatchString(lines.Text()) {
			ts.Check(cmd.Process.Signal(syscall.SIGINT))
		}
	}
	err = cmd.Wait()
	if cmd.ProcessState.ExitCode() != exitFailed || stderr.String() != "pairguard: demo: interrupted\n" {
		ts.Fatalf("the interrupted demo ended with %v and said %q", err, stderr.String())
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		ts.Check(err)
		h, err := proc.Open(pid)
		if errors.Is(err, proc.ErrGone) {
			continue
		}
		ts.Check(err)
		if demoProcessLives(h.ID()) {
			ts.Fatalf("pid %d of the interrupted demo is still there", pid)
		}
		h.Close()
	}
}

func environ(ts *testscript.TestScript) []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "PAIRGUARD_DIR"} {
		env = append(env, key+"="+ts.Getenv(key))
	}
	return env
}

func lookPath(ts *testscript.TestScript, file string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		candidate := filepath.Join(dir, file)
		if info, err := os.Stat(candidate); err == nil && info.Mode()&0o111 != 0 {
			return candidate
		}
	}
	ts.Fatalf("%s is not in $PATH", file)
	return ""
}
