package pairguard

import (
	"os"
	"testing"

	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/protocol"
)

// Who only asks how we are leaves nothing behind, or a status a second would make
// a guard grow for ever; whoever the machine knows stays known until he is dead.
func TestProcessesForgetWhoOnlyAsks(t *testing.T) {
	p := newProcesses()
	meet := func() protocol.Process {
		t.Helper()
		h, err := proc.Open(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		return p.add(h)
	}
	first, second := meet(), meet()
	if first != second {
		t.Fatalf("one process has the numbers %d and %d", first.Handle, second.Handle)
	}
	p.release(first)
	if len(p.byID) != 1 || len(p.byNum) != 1 {
		t.Errorf("forgotten while it has another connection: %v %v", p.byID, p.byNum)
	}
	p.release(second)
	p.release(second) // once too often does no harm
	if len(p.byID) != 0 || len(p.byNum) != 0 {
		t.Errorf("not forgotten: %v %v", p.byID, p.byNum)
	}
	known := meet()
	m := &Member{inbox: make(chan message, 1), quit: make(chan struct{})}
	p.watch([]protocol.Process{known}, m)
	p.release(known)
	if len(p.byNum) != 1 {
		t.Error("forgotten although its death matters")
	}
	close(m.quit)
	p.closeAll()
}
