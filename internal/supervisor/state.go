package supervisor

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// What stands on the shelf of programs for each of them.
const (
	shelfName     = "programs"
	definitionExt = ".program"
	runExt        = ".run"
	pipeExt       = ".fifo"
)

// definitionRecord is what a person asked for: NAME.program.
type definitionRecord struct {
	BootID     string             `json:"boot_id"` // a program is forgotten when the machine starts anew
	Request    string             `json:"request,omitempty"`
	Definition control.Definition `json:"definition"`
	// Environ is the sum of Definition.Inherit, which is not there then: in custody
	// programs share it.
	Environ string `json:"environ,omitempty"`
}

// runRecord is what a successor has to know of a program beyond its definition:
// NAME.run, and the same in custody.
type runRecord struct {
	BootID string           `json:"boot_id"`
	Record lifecycle.Record `json:"record"`
	// Token is in the environment of the newest process that was started, or is
	// about to be.
	Token   string   `json:"token,omitempty"`
	Process *proc.ID `json:"process,omitempty"` // nil: none, or an intent
	Cgroup  string   `json:"cgroup,omitempty"`  // in which it was started; empty: none of its own
	// CgroupUsage is the processor time that was used in the cgroup before it was started;
	// usageUnknown: nobody asked.
	CgroupUsage time.Duration `json:"cgroup_usage_ns,omitempty"`
	// Known are descendants of the process that were seen while it lived.
	Known []proc.ID `json:"known,omitempty"`
}

func (r runRecord) equal(o runRecord) bool {
	return r.BootID == o.BootID && r.Record == o.Record && r.Token == o.Token && r.Cgroup == o.Cgroup && r.CgroupUsage == o.CgroupUsage &&
		(r.Process == nil) == (o.Process == nil) && (r.Process == nil || *r.Process == *o.Process) && slices.Equal(r.Known, o.Known)
}

// saved is one program as it is found on the disk.
type saved struct {
	definition control.Definition
	request    string
	run        runRecord
}

// loadAll reads every program that was defined since the machine started. What is
// damaged, or of an earlier boot, is left out; notes say so.
func loadAll(shelf *pairdir.Shelf, bootID string) (programs []saved, notes []string, err error) {
	names, err := shelf.Names(definitionExt)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		s, note, err := load(shelf, name, bootID)
		if err != nil {
			return nil, nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
		if s != nil {
			programs = append(programs, *s)
		}
	}
	return programs, notes, nil
}

// load reads one program. A damaged definition makes it unknown; without a run record
// it is one that was never started.
func load(shelf *pairdir.Shelf, name, bootID string) (s *saved, note string, err error) {
	var d definitionRecord
	found, err := shelf.Load(name, definitionExt, &d, func() error {
		if d.Definition.Name != name {
			return errors.New("it is of another program")
		}
		return d.Definition.Validate()
	})
	var damaged *pairdir.DamagedError
	switch {
	case errors.As(err, &damaged):
		return nil, err.Error(), nil
	case err != nil:
		return nil, "", err
	case !found:
		return nil, "", nil
	case d.BootID != bootID:
		forget(shelf, name)
		return nil, "program " + name + ": forgotten, as the machine was started anew since it was defined", nil
	}
	s = &saved{definition: d.Definition, request: d.Request}
	found, err = shelf.Load(name, runExt, &s.run, func() error { return nil })
	switch {
	case errors.As(err, &damaged):
		note = err.Error() + "; if its process still runs it is not known any more: end it by hand"
		s.run = runRecord{}
	case err != nil:
		return nil, "", err
	case !found || s.run.BootID != bootID:
		s.run = runRecord{}
	}
	return s, note, nil
}

// forget removes what is kept of a program, its definition first: without that the
// rest means nothing.
func forget(shelf *pairdir.Shelf, name string) {
	for _, ext := range []string{definitionExt, runExt, pipeExt} {
		_ = shelf.Remove(name, ext)
	}
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("supervisor: a record that is not JSON: " + err.Error())
	}
	return b
}
