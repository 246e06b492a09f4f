package supervisor

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

func newRandom() float64 { return rand.Float64() }

// newProgram makes a program known; it gets its machine from the caller.
func (l *loop) newProgram(def control.Definition, request string) *program {
	p := &program{l: l, def: def, request: request}
	p.run.BootID = l.boot
	p.share()
	l.programs[def.Name] = p
	p.giveDefinition(nil)
	return p
}

// mayDefine refuses a name that a member of a pair has: stop and hold would not know
// who is meant.
func (l *loop) mayDefine(name string) error {
	if err := control.CheckName(name); err != nil {
		return control.Errorf(control.CodeParams, "%v", err)
	}
	if l.programs[name] != nil {
		return nil
	}
	n, err := l.dir.Name(name)
	if err != nil {
		return control.Errorf(control.CodeParams, "%v", err)
	}
	if holder, err := l.dir.Holder(n); err == nil && holder.Held {
		return control.Errorf(control.CodeTaken, "program %s: the name is that of a pair's member, process %d; choose another", name, holder.PID)
	}
	return nil
}

// redefine takes a new definition; where the log goes may have changed.
func (p *program) redefine(def control.Definition, request string) {
	moved := def.Log != p.def.Log
	p.def, p.request = def, request
	p.share()
	if moved && p.stream != nil {
		p.closeOutput()
		if err := p.openOutput(); err != nil {
			p.logging = err.Error()
			p.tell("program_output", err.Error())
		}
	}
}

// leave ends a program for good.
func (p *program) leave() {
	p.leaving = true
	p.step(lifecycle.Stop{})
}

// remove forgets a program of which nothing is left.
func (l *loop) remove(p *program) {
	name := p.def.Name
	if l.programs[name] != p {
		return
	}
	delete(l.programs, name)
	p.closeOutput()
	p.dropGroup()
	for _, ext := range []string{definitionExt, runExt, pipeExt} {
		l.scribe.store(name, ext, nil, false, nil)
	}
	for _, kind := range []string{definitionItem, runItem, processItem, outputItem} {
		l.submit(custody.Item{Key: kind + name, Gone: true}, nil)
	}
	p.environ.release()
	p.outdated.release()
}

// drained calls tell when everything that was printed until now is in the log.
func (p *program) drained(tell func()) {
	if p.stream == nil {
		tell()
		return
	}
	stream, l := p.stream, p.l
	l.later(func() {
		ctx, cancel := context.WithTimeout(l.ctx, drainedPatience)
		defer cancel()
		_ = stream.Drained(ctx)
		tell()
	})
}

// drainedPatience is how long the end of a program waits for its last words to be on
// a disk that is full.
const drainedPatience = 2 * time.Second

func (l *loop) logSpec(d *control.Definition) output.LogSpec {
	keep := d.Log.Keep
	if keep == 0 {
		keep = output.KeepNone
	}
	return output.LogSpec{Path: d.LogFile(l.dir.Path()), Size: d.Log.Size, Keep: keep}
}

// report is what status shows.
func (l *loop) report(programs []*program, member pairguard.Status) control.Status {
	s := control.Status{Dir: l.dir.Path(), Programs: []control.Program{}}
	s.Supervisors = []control.Supervisor{{Role: control.RoleActive, PID: l.me.PID, Since: l.active.since, Generation: member.Generation}}
	if l.active.other != nil {
		s.Supervisors = append(s.Supervisors, control.Supervisor{
			Role: control.RoleStandby, PID: l.active.other.PID(), Since: l.active.joined.Since, Generation: l.active.joined.Generation,
		})
	}
	s.WhyNotGuarded = l.custody.WhyNotGuarded()
	if member.Phase == phaseLeft {
		s.WhyNotGuarded = "the other supervisor has left: 'pairguard up' starts it again"
	}
	s.Guarded = s.WhyNotGuarded == ""
	for _, p := range programs {
		one := describe(&p.def, p.record(), l.logSpec(&p.def).Path)
		one.PID, one.Adopted = pidOf(p), p.adopted
		if p.stream != nil {
			one.Log.Dropped = p.stream.Dropped()
		}
		if one.Note == "" {
			one.Note = p.logging
		}
		s.Programs = append(s.Programs, one)
	}
	return s
}

// describe tells what the record and the definition do.
func describe(d *control.Definition, r lifecycle.Record, log string) control.Program {
	now := pairdir.SinceBoot()
	wall := func(at time.Duration) time.Time { return time.Now().Add(at - now) }
	p := control.Program{
		Name: d.Name, State: string(r.State), Ready: r.State == lifecycle.Running, Generation: r.Generation, Since: wall(r.Since),
		Restarts: uint64(r.Restarts), LastExit: exitOf(r), Command: d.Command, Dir: d.Dir, Restart: d.Restart,
		Log: control.LogStatus{File: log, Size: d.Log.Size, Keep: d.Log.Keep},
	}
	if p.State == "" {
		p.State = string(lifecycle.Stopped)
	}
	if r.NextStart > 0 {
		at := wall(r.NextStart)
		p.NextStart = &at
	}
	if r.HeldUntil > 0 {
		at := wall(r.HeldUntil)
		p.HeldUntil = &at
	}
	switch r.State {
	case lifecycle.Backoff, lifecycle.Fatal, lifecycle.Held, lifecycle.Stopping, lifecycle.Exited:
		p.Note = r.Reason
	case lifecycle.Stopped, lifecycle.Starting, lifecycle.Running:
	}
	return p
}

func exitOf(r lifecycle.Record) *control.Exit {
	if !r.Ended {
		return nil
	}
	e := &control.Exit{Reason: r.Exit.String()}
	switch {
	case !r.Exit.Known:
	case r.Exit.Signal != "":
		signal := r.Exit.Signal
		e.Signal = &signal
	default:
		code := r.Exit.Code
		e.Code = &code
	}
	return e
}
