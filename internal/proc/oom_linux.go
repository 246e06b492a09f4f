package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Relies on proc(5): /proc/self/oom_score_adj, which a child inherits at its fork.
// Raising it back is anybody's right; lowering it again as well, down to the value
// that a privileged process once set.

const oomFile = "/proc/self/oom_score_adj"

// oom remembers what LowerOOMScore has changed.
var oom struct {
	mu       sync.Mutex
	lowered  bool
	own      string // what this process keeps
	original string // what the processes that it starts get
}

// LowerOOMScore makes this process less likely to be killed when memory runs out:
// -1000 means never. Processes that it starts get the score that it had before.
// It needs root. A score that is as low already stays, and so does that of what is
// started.
func LowerOOMScore(score int) error {
	oom.mu.Lock()
	defer oom.mu.Unlock()
	b, err := os.ReadFile(oomFile)
	if err != nil {
		return fmt.Errorf("cannot read the OOM score: %w", err)
	}
	original := strings.TrimSpace(string(b))
	now, err := strconv.Atoi(original)
	if err != nil {
		return fmt.Errorf("cannot understand %s: %w", oomFile, err)
	}
	if score >= now {
		return nil
	}
	if err := writeOOMScore(strconv.Itoa(score)); err != nil {
		return fmt.Errorf("cannot lower the OOM score to %d: %w (it needs root)", score, err)
	}
	if !oom.lowered {
		oom.original = original
	}
	oom.lowered, oom.own = true, strconv.Itoa(score)
	return nil
}

// forkExec is syscall.ForkExec with the original OOM score. The score is raised
// before the fork, not in the child after it: a program that sets its own would
// otherwise be overtaken by us. If this process dies in between, nothing is lost.
func forkExec(path string, args []string, attr *syscall.ProcAttr) (pid int, err error) {
	withOriginalOOMScore(func() { pid, err = syscall.ForkExec(path, args, attr) })
	return pid, err
}

func withOriginalOOMScore(do func()) {
	oom.mu.Lock()
	if !oom.lowered {
		oom.mu.Unlock()
		do()
		return
	}
	defer oom.mu.Unlock()
	if err := writeOOMScore(oom.original); err == nil {
		defer func() { _ = writeOOMScore(oom.own) }()
	}
	do()
}

func writeOOMScore(score string) error { return writeControl(oomFile, score) }
