package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/pairguard/pairguard/bench/stage"
)

// forgetProcess leaves in the record of a start what stands there between the fork
// and its completion: the intent alone.
func (t *trial) forgetProcess(record string) {
	t.Helper()
	text, err := os.ReadFile(record)
	t.must(err)
	var all map[string]any
	t.must(json.Unmarshal(text, &all))
	all["process"] = nil
	text, err = json.Marshal(all)
	t.must(err)
	t.must(os.WriteFile(record, text, 0o600))
}

// A guard was killed between the start of an ordinary program, which holds no lock,
// and the record of it. Whoever comes after finds the program.
func TestGuardKilledBeforeTheRecordOfAStart(t *testing.T) {
	for _, c := range []struct {
		name   string
		follow func(tr *trial, p *stage.Pair, restart func(), old int, program string)
	}{
		{"a new guard finds it", func(tr *trial, p *stage.Pair, restart func(), old int, program string) {
			restart()
			_, err := p.Observer.AwaitHolder(tr.ctx, "guard")
			tr.must(err)
			tr.remains("the same program alone", 2*time.Second, func(now []stage.Process) bool {
				found := programs(now, program, "1000")
				return len(found) == 1 && found[0].PID == old
			})
			tr.must(syscall.Kill(old, syscall.SIGKILL))
			tr.program(old, program, "1000") // it is guarded
			tr.stopped(p)
		}},
		{"it has ended", func(tr *trial, p *stage.Pair, restart func(), old int, program string) {
			tr.must(syscall.Kill(old, syscall.SIGKILL))
			tr.must(stage.AwaitGone(tr.ctx, old))
			restart()
			tr.program(old, program, "1000")
			tr.stopped(p)
		}},
		{"stop finds it", func(tr *trial, p *stage.Pair, restart func(), old int, program string) {
			tr.stopped(p)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			sleep, err := exec.LookPath("sleep")
			tr.must(err)
			p := tr.pair("guard", "prog")
			restart := func() { p.First = tr.guard("guard", "prog", "--backoff", "0", "--", sleep, "1000") }
			restart()
			pid := tr.program(0, sleep, "1000")
			record := filepath.Join(tr.Dir, "prog.spawn")
			tr.must(tr.AwaitProcesses(tr.ctx, "the start is recorded", func([]stage.Process) bool {
				text, err := os.ReadFile(record)
				var s struct{ Process *struct{ PID int } }
				return err == nil && json.Unmarshal(text, &s) == nil && s.Process != nil && s.Process.PID == pid
			}))
			tr.must(p.First.Signal(syscall.SIGKILL))
			tr.must(p.First.Await(tr.ctx))
			tr.forgetProcess(record)
			c.follow(tr, p, restart, pid, sleep)
		})
	}
}

// The folder is removed, and then the guard is killed: the program is found all the
// same, as the record of its start was put back.
func TestRecordOfAStartIsPutBack(t *testing.T) {
	t.Parallel()
	tr := newTrial(t)
	sleep, err := exec.LookPath("sleep")
	tr.must(err)
	p := tr.pair("guard", "prog")
	p.First = tr.guard("guard", "prog", "--", sleep, "1000")
	pid := tr.program(0, sleep, "1000")
	record := filepath.Join(tr.Dir, "prog.spawn")
	for range 2 { // put back by who has started it, then by who has found it
		tr.exists(record)
		tr.must(os.RemoveAll(tr.Dir))
		tr.exists(record)
		tr.must(p.First.Signal(syscall.SIGKILL))
		tr.must(p.First.Await(tr.ctx))
		p.First = tr.guard("guard", "prog", "--", sleep, "1000")
		_, err = p.Observer.AwaitHolder(tr.ctx, "guard")
		tr.must(err)
		tr.remains("the same program alone", 2*time.Second, func(now []stage.Process) bool {
			found := programs(now, sleep, "1000")
			return len(found) == 1 && found[0].PID == pid
		})
	}
	tr.stopped(p)
}
