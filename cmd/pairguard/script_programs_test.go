package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdShows waits until the log of a program has what the pattern says.
func cmdShows(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	path := filepath.Join(ts.Getenv("PAIRGUARD_DIR"), "logs", args[0]+".log")
	pattern := regexp.MustCompile("(?m)" + args[1])
	until(ts, args[0]+" prints "+args[1], func() bool {
		text, err := os.ReadFile(path)
		return err == nil && pattern.Match(text)
	})
}

// cmdGuarded waits until a standby has everything.
func cmdGuarded(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 0)
	until(ts, "guarded", func() bool {
		var s statusReport
		_ = ts.Exec("pairguard", "status", "--json") // its exit code is about the programs
		return json.Unmarshal([]byte(ts.ReadFile("stdout")), &s) == nil && s.Guarded && len(s.Supervisors) == 2
	})
}

// cmdInterruptRun runs a program in front of a person who presses Ctrl-C at each line
// that matches, and checks the exit code.
func cmdInterruptRun(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 3)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	at := regexp.MustCompile(args[1])
	cmd := exec.Command(lookPath(ts, "pairguard"), append([]string{"run"}, args[2:]...)...)
	cmd.Env, cmd.Dir = environ(ts), ts.MkAbs(".")
	var stderr, shown strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	watchdog := time.AfterFunc(scriptDeadline, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		shown.WriteString(lines.Text() + "\n")
		if at.MatchString(lines.Text()) {
			ts.Check(cmd.Process.Signal(syscall.SIGINT))
		}
	}
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != want {
		ts.Fatalf("pairguard run %q: exit code %d, want %d; it showed %q and said %q", args[2:], got, want, shown.String(), stderr.String())
	}
}
