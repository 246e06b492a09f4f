package supervisor

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/proc"
)

// restore takes over every program that whoever acted before has left: from the copy
// that we hold, and from the disk where that is not all.
func (l *loop) restore(a custody.Act) {
	programs, fromDisk := l.copied(a.Copy), map[string]bool{}
	var lost *leftovers
	if !a.Complete {
		l.addFromDisk(programs, a.Copy, fromDisk)
		lost = l.findLeftovers()
		defer lost.close()
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		l.takeOver(programs[name], fromDisk[name], lost)
		l.pulse.beat()
	}
	l.releaseUnused(a.Copy)
	lost.keepStrays()
}

// copied reads what was in custody.
func (l *loop) copied(items []custody.Item) map[string]*saved {
	programs, inherited := map[string]*saved{}, environsOf(items)
	for _, it := range items {
		name, ok := strings.CutPrefix(it.Key, definitionItem)
		if !ok || it.Gone {
			continue
		}
		var d definitionRecord
		err := json.Unmarshal(it.Body, &d)
		list, known := inherited[d.Environ]
		d.Definition.Inherit = list
		if err != nil || d.Environ != "" && !known || d.Definition.Validate() != nil {
			l.tell("supervisor_failed", "the copy of "+name+" cannot be read: its definition on the disk counts")
			if s, _, err := load(l.shelf, name, l.boot); err == nil && s != nil {
				programs[name] = &saved{definition: s.definition, request: s.request}
			}
			continue
		}
		programs[name] = &saved{definition: d.Definition, request: d.Request}
	}
	for _, it := range items {
		name, ok := strings.CutPrefix(it.Key, runItem)
		if s := programs[name]; ok && s != nil && !it.Gone {
			s.run = readRun(it.Body)
		}
	}
	return programs
}

// readRun is the zero record when it cannot be read.
func readRun(b []byte) (r runRecord) {
	if json.Unmarshal(b, &r) != nil || r.Record.Validate() != nil {
		return runRecord{}
	}
	return r
}

// addFromDisk adds what the copy does not speak of.
func (l *loop) addFromDisk(programs map[string]*saved, items []custody.Item, fromDisk map[string]bool) {
	spoken := map[string]bool{}
	for _, it := range items {
		spoken[it.Key] = true
	}
	found, notes, err := loadAll(l.shelf, l.boot)
	if err != nil {
		l.tell("supervisor_failed", err.Error())
	}
	for _, note := range notes {
		l.tell("supervisor_note", note)
	}
	for _, s := range found {
		name := s.definition.Name
		switch have := programs[name]; {
		case have == nil && !spoken[definitionItem+name]:
			programs[name], fromDisk[name] = &s, true
		case have != nil && !spoken[runItem+name]:
			have.run, fromDisk[name] = s.run, true
		}
	}
}

// takeOver goes on with one program, whose descriptors may be in our hands.
func (l *loop) takeOver(s *saved, fromDisk bool, lost *leftovers) {
	p := l.newProgram(s.definition, s.request)
	name := s.definition.Name
	if files := l.standby.take(outputItem + name); len(files) == 2 {
		p.pipe, p.log = files[0], files[1]
	}
	kept := l.standby.takeProcess(name)
	recorded := s.run.Record.State != "" // else it was never started, or its record is lost
	if recorded {
		p.run = s.run
		p.run.BootID = l.boot
		p.machine = lifecycle.Restore(policyOf(&s.definition), s.run.Record, rand.Float64)
	} else {
		p.machine = lifecycle.New(policyOf(&s.definition), rand.Float64)
	}
	if p.run.Cgroup != "" {
		var err error
		p.group, err = proc.OpenCgroup(p.run.Cgroup)
		p.groupGone = errors.Is(err, os.ErrNotExist)
	}
	if p.record().Phase != lifecycle.Idle || p.pipe != nil {
		if err := p.openOutput(); err != nil {
			p.logging = err.Error()
			p.tell("program_output", err.Error())
		}
	}
	if found := lost.newest(p, kept); found.Handle != nil {
		// It was started after what the record tells: that did not come to us.
		p.adopted = true
		p.step(lifecycle.Begin{FromDisk: true, Found: found.generation})
		p.l.next(func() { p.guard(found.generation, found.Handle); p.publish(nil) })
		p.l.next(p.putBack)
		return
	}
	if !recorded {
		p.lookForLost()
		return
	}
	p.adopt(kept.of(p.record().Generation))
	p.step(lifecycle.Begin{FromDisk: fromDisk})
	p.l.next(p.putBack)
}

// putBackPause lets a takeover come to its end before the disk is cared for. When both
// supervisors die within it, the disk has what the dead one had stored.
const putBackPause = 100 * time.Millisecond

// putBack hands on what has been taken over, and stores it, as whoever died may not have
// come to it; not before the program has begun here, since the record may be out of date
// until then.
func (p *program) putBack() {
	l, name := p.l, p.def.Name
	l.submit(custody.Item{Key: runItem + name, Body: encode(p.run)}, nil)
	l.afterwards(putBackPause, func() {
		if l.programs[name] != p {
			return
		}
		l.scribe.storeLater(name, definitionExt, p.definition(), l.recordStored)
		l.scribe.storeLater(name, runExt, p.run, l.recordStored)
	})
}

// adopt takes the process that the record speaks of; handle is what custody has of it.
func (p *program) adopt(handle *proc.Handle) {
	gen := p.record().Generation
	switch p.record().Phase {
	case lifecycle.Alive:
		p.adopted = true
		if handle == nil && p.run.Process != nil {
			h, err := proc.Reopen(*p.run.Process)
			if err != nil && !isGone(err) {
				p.tell("program_failed", "it cannot be watched: "+err.Error())
			}
			handle = h
		}
		if handle != nil {
			p.guard(gen, handle)
			return
		}
		p.openOrphans()
		p.l.post(func() { p.step(lifecycle.Ended{Gen: gen}) }) // after Begin
	case lifecycle.Clearing:
		p.adopted = true
		if handle != nil {
			handle.Close()
		}
		p.openOrphans()
	case lifecycle.Birth:
		if handle != nil {
			// It was started and the record of that did not come: it is what Resolve looks for.
			p.handle = handle
		}
	case lifecycle.Idle:
		if handle != nil {
			handle.Close()
		}
	}
}

// openOrphans is for what a main process has left behind that we have no handle of, or
// do not even know.
func (p *program) openOrphans() {
	var main proc.ID
	if p.run.Process != nil {
		main = *p.run.Process
	}
	tree, err := proc.OpenOrphans(main, p.group)
	if err != nil {
		if !isGone(err) {
			p.tell("program_failed", "what it left behind cannot be found: "+err.Error())
		}
		return
	}
	tree.Remember(p.run.Known)
	p.tree = tree
}

// lookForLost finds a process whose record is lost by the pipe that it prints into.
func (p *program) lookForLost() {
	l := p.l
	if err := p.openOutput(); err != nil {
		return
	}
	pipe := p.pipe
	l.later(func() {
		writers, err := proc.FindWriters(pipe)
		main := chooseMain(writers)
		l.post(func() {
			if err != nil || main == nil {
				return
			}
			p.foundLost(main)
		})
	})
}

func (p *program) foundLost(main *proc.Handle) {
	gen := p.record().Generation + 1
	if p.record().Phase != lifecycle.Idle {
		main.Close()
		return
	}
	p.adopted = true
	p.step(lifecycle.Begin{FromDisk: true, Found: gen})
	p.guard(gen, main)
	p.publish(nil)
}

// resolve finds out what became of an open intent, when nobody is on the way between
// fork and exec any more.
func (l *loop) resolve(p *program, gen uint64) {
	if p.handle != nil { // the handle came, the record did not
		h := p.handle
		p.guard(gen, h)
		p.adopted = true
		p.step(lifecycle.Resolved{Gen: gen, Found: true})
		return
	}
	token, pipe, unborn := p.run.Token, p.pipe, l.unborn
	l.later(func() {
		if unborn != nil && proc.AwaitBirths(l.ctx, unborn) != nil {
			return // we end
		}
		marked, err := proc.FindMarked(tokenVariable, token)
		if pipe != nil {
			// Programs that write their state into their title overwrite the mark.
			writers, err2 := proc.FindWriters(pipe)
			marked, err = append(marked, writers...), errors.Join(err, err2)
		}
		var traces []proc.ID
		for _, h := range marked {
			traces = append(traces, h.ID())
		}
		main := chooseMain(marked)
		l.post(func() { p.resolved(gen, main, traces, err) })
	})
}

// resolved takes what was found of a start: its main process, or else traces, processes
// that it has left behind.
func (p *program) resolved(gen uint64, main *proc.Handle, traces []proc.ID, err error) {
	if p.record().Phase != lifecycle.Birth || p.record().Generation != gen {
		if main != nil {
			main.Close()
		}
		return
	}
	if err != nil {
		p.tell("program_failed", "it is not known for sure whether it was started: "+err.Error())
	}
	switch {
	case main != nil:
		p.adopted = true
		p.guard(gen, main)
		p.step(lifecycle.Resolved{Gen: gen, Found: true})
	default:
		ran := len(traces) > 0 || p.ranInGroup()
		if ran {
			p.run.Known = append(p.run.Known, traces...)
			p.openOrphans()
		}
		p.step(lifecycle.Resolved{Gen: gen, Ran: ran})
	}
}

// ranInGroup reports whether the newest start came as far as its cgroup, whatever has
// become of it. A cgroup that is not there any more was removed after its end.
func (p *program) ranInGroup() bool {
	if p.group == nil {
		return p.groupGone
	}
	if populated, err := p.group.Populated(); err == nil && populated {
		return true
	}
	if p.run.CgroupUsage == usageUnknown {
		return false
	}
	used, err := p.group.Usage()
	return err == nil && used > p.run.CgroupUsage
}

// chooseMain returns the oldest that leads its session, as what we start does, and
// closes the others.
func chooseMain(found []*proc.Handle) (main *proc.Handle) {
	for _, h := range found {
		if leads, err := h.LeadsSession(); main == nil && err == nil && leads {
			main = h
			continue
		}
		h.Close()
	}
	return main
}
