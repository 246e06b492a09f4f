package supervisor

import (
	"sync"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// journalRoom is how many events wait for a disk that hangs; more are dropped.
const journalRoom = 20_000

// journal writes the event log of the programs aside. Only the active supervisor
// writes.
type journal struct {
	log     *pairdir.Log
	records *queue
	mu      sync.Mutex
	waiting []pairdir.Record
}

func openJournal(dir *pairdir.Dir, name pairdir.Name) (*journal, error) {
	log, err := dir.OpenLog(name)
	if err != nil {
		return nil, err
	}
	return &journal{log: log, records: newQueue()}, nil
}

// write never waits.
func (j *journal) write(r pairdir.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= journalRoom {
		return
	}
	j.waiting = append(j.waiting, r)
	if len(j.waiting) == 1 {
		j.records.do(j.flush)
	}
}

// flush writes what has come together.
func (j *journal) flush() {
	j.mu.Lock()
	records := j.waiting
	j.waiting = nil
	j.mu.Unlock()
	_ = j.log.Append(records...) // a full disk must not stop anything
}
