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
	waiting int
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
	full := j.waiting >= journalRoom
	if !full {
		j.waiting++
	}
	j.mu.Unlock()
	if full {
		return
	}
	j.records.do(func() {
		_ = j.log.Append(r) // a full disk must not stop anything
		j.mu.Lock()
		j.waiting--
		j.mu.Unlock()
	})
}
