package e2e

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/bench/stage"
)

// wrapped starts procA, whose peer is started by a wrapper that starts its program
// again whenever it ends.
func (t *trial) wrapped(trap string) *stage.Pair {
	t.Helper()
	wrapper := filepath.Join(t.Root, "wrapper")
	script := "#!/bin/sh\n" + trap + "while :; do " + command("pairguard") + " guard procB procA --dir " + t.Dir + "; done\n"
	t.must(os.WriteFile(wrapper, []byte(script), 0o755))
	p := t.pair("procA", "procB")
	p.First = t.guard("procA", "procB", "--grace", "2s", "--", wrapper)
	t.event("procA meets procB", saw("procA", pairguard.PeerUp))
	t.event("procB meets procA", saw("procB", pairguard.PeerUp))
	return p
}

// A wrapper that starts its program again by itself does not beat a stop, whether it
// hears SIGTERM or not.
func TestStopOfASelfRestartingWrapper(t *testing.T) {
	for name, trap := range map[string]string{"obedient": "", "stubborn": "trap '' TERM\n"} {
		t.Run(name+", stop", func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			tr.wrapped(trap)
			_, err := tr.Command(tr.ctx, "stop", "--grace", "2s")
			tr.must(err)
			tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
			tr.remains("nothing comes back", unchanged, none)
		})
		t.Run(name+", Ctrl-C", func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.wrapped(trap)
			tr.must(p.First.Signal(syscall.SIGINT))
			tr.ended(p.First, 0)
			tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
			tr.remains("nothing comes back", unchanged, none)
		})
		t.Run(name+", Ctrl-C on the other side", func(t *testing.T) {
			t.Parallel()
			tr := newTrial(t)
			p := tr.wrapped(trap)
			tr.must(syscall.Kill(p.Observer.Holder("procB"), syscall.SIGINT))
			tr.ended(p.First, 0)
			tr.must(tr.AwaitProcesses(tr.ctx, "nothing is left", none))
			tr.remains("nothing comes back", unchanged, none)
		})
	}
}
