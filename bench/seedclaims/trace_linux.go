package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"

	"github.com/pairguard/pairguard/bench/stage"
)

// trace is what strace saw of a pair from its start over two revivals to its end.
type trace struct {
	lines    int
	families map[string]int // of sockets
	lists    []string       // looks at the list of processes
	reads    int            // getdents of other folders
	single   int            // files of single processes below /proc
}

var (
	socketCall = regexp.MustCompile(`\bsocket(?:pair)?\((?:<unfinished|(AF_\w+|PF_\w+))`)
	openedProc = regexp.MustCompile(`\bopen(?:at|at2)?\(.*"/proc/?"`)
	listedProc = regexp.MustCompile(`\bgetdents(?:64)?\(\d+</proc/?>`)
	listed     = regexp.MustCompile(`\bgetdents(?:64)?\(`)
	openedPID  = regexp.MustCompile(`\bopen(?:at|at2)?\(.*"/proc/[^"]`)
)

// traced runs a pair under strace once, for all who ask.
func (t *theatre) traced(ctx context.Context) (_ *trace, err error) {
	if t.trace != nil {
		return t.trace, nil
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, errors.New("strace is not there; install it (Debian: apt-get install strace)")
	}
	s, err := stage.New(filepath.Join(t.bin, "pairguard"), "pairs")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close(err != nil)) }()
	out := filepath.Join(s.Root, "trace")
	p := s.NewPair("procA", "procB")
	defer t.applaud(p.Observer, &err)
	first, err := s.Start(strace, "-f", "-y", "-s", "200", "-o", out, "-e", "trace=%network,open,openat,openat2,getdents,getdents64",
		s.Binary, "guard", "procA", "procB", "--dir", s.Dir, "--backoff", "0")
	if err != nil {
		return nil, err
	}
	if err := acts(ctx, p); err != nil {
		return nil, err
	}
	if err := first.Await(ctx); err != nil {
		return nil, err
	}
	t.trace, err = readTrace(out)
	return t.trace, err
}

// acts: strace is a process of the stage too, so exactly two are not counted here.
func acts(ctx context.Context, p *stage.Pair) error {
	for _, name := range []string{p.B, p.A} {
		if err := p.AwaitMembers(ctx); err != nil {
			return err
		}
		if _, err := p.Replace(ctx, name, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := p.AwaitMembers(ctx); err != nil {
		return err
	}
	return p.StopPair(ctx)
}

func readTrace(file string) (*trace, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t := &trace{families: map[string]int{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		t.lines++
		t.read(lines.Text())
	}
	if t.lines == 0 {
		return nil, fmt.Errorf("%s is empty: strace could not trace", file)
	}
	return t, lines.Err()
}

func (t *trace) read(line string) {
	if m := socketCall.FindStringSubmatch(line); m != nil {
		t.families[m[1]]++
	}
	switch {
	case openedProc.MatchString(line), listedProc.MatchString(line):
		t.lists = append(t.lists, strings.TrimSpace(line))
	case listed.MatchString(line):
		t.reads++
	case openedPID.MatchString(line):
		t.single++
	}
}

// noPort: all sockets are local ones.
func noPort(ctx context.Context, t *theatre) (string, error) {
	tr, err := t.traced(ctx)
	if err != nil {
		return "", err
	}
	for family, n := range tr.families {
		if family != "AF_UNIX" {
			return "", fmt.Errorf("%d sockets of family %q", n, family)
		}
	}
	if tr.families["AF_UNIX"] == 0 {
		return "", errors.New("strace saw no socket at all: the trace is worth nothing")
	}
	return fmt.Sprintf("%d sockets, all AF_UNIX, in a strace of a pair with two revivals", tr.families["AF_UNIX"]), nil
}

// noProcessList: /proc itself is never opened or listed.
func noProcessList(ctx context.Context, t *theatre) (string, error) {
	tr, err := t.traced(ctx)
	if err != nil {
		return "", err
	}
	if len(tr.lists) > 0 {
		return "", fmt.Errorf("%d looks at the list of processes: %s", len(tr.lists), tr.lists[0])
	}
	return fmt.Sprintf("/proc never opened or listed; %d files of single, known processes read", tr.single), nil
}
