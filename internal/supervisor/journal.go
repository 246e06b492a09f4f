package supervisor

import (
	"sync"

	"github.com/pairguard/pairguard/internal/pairdir"
)

// journalRoom is how many events wait for a disk that hangs; more are dropped.
const journalRoom = 1024

// journal writes the event log of the programs aside. Only the active supervisor
// writes.
type journal struct {
	log     *pairdir.Log
	records chan pairdir.Record
	done    chan struct{}
	once    sync.Once
}

func openJournal(dir *pairdir.Dir, name pairdir.Name) (*journal, error) {
	log, err := dir.OpenLog(name)
	if err != nil {
		return nil, err
	}
	j := &journal{log: log, records: make(chan pairdir.Record, journalRoom), done: make(chan struct{})}
	go func() {
		defer close(j.done)
		for r := range j.records {
			_ = j.log.Append(r) // counted by the log; a full disk must not stop anything
		}
	}()
	return j, nil
}

// write never waits.
func (j *journal) write(r pairdir.Record) {
	select {
	case j.records <- r:
	default:
	}
}

// close writes what waits. Nothing may be written any more.
func (j *journal) close() { j.once.Do(func() { close(j.records) }) }
