package supervisor

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/custody"
	"github.com/pairguard/pairguard/internal/lifecycle"
)

// handler answers clients. Each method runs on its client's goroutine and does what it
// does in the loop.
type handler struct{ l *loop }

var errEnding = control.Errorf(control.CodeEnding, "the supervisors are ending: ask again")

// inLoop runs fn in the loop and waits for it.
func (h *handler) inLoop(ctx context.Context, fn func() error) error {
	answered := make(chan error, 1)
	if !h.l.post(func() {
		if h.l.ending {
			answered <- errEnding
			return
		}
		answered <- fn()
	}) {
		return errEnding
	}
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-h.l.ctx.Done():
		return errEnding
	}
}

// task is one request that has to wait for something to become of programs.
type task struct {
	h       *handler
	left    int
	changes []control.Change
	done    chan struct{}
}

// run begins the task in the loop, and returns when everything it waits for has come
// about. While it is in work the supervisors do not end.
func (h *handler) run(ctx context.Context, begin func(t *task) error) (control.Changes, error) {
	t := &task{h: h, done: make(chan struct{})}
	left := h.l.otherLeft()
	occupied := false
	err := h.inLoop(ctx, func() error {
		h.l.active.used = true
		h.l.occupy()
		h.l.recallOther(left)
		occupied = true
		t.left = 1
		if err := begin(t); err != nil {
			return err
		}
		t.finished()
		return nil
	})
	// In the loop and after the above, which may come later than the client has gone.
	defer h.l.post(func() {
		if occupied {
			h.l.release()
		}
	})
	if err != nil {
		return control.Changes{}, err
	}
	select {
	case <-t.done:
		slices.SortFunc(t.changes, func(a, b control.Change) int { return strings.Compare(a.Name, b.Name) })
		return control.Changes{Programs: t.changes}, nil
	case <-ctx.Done():
		return control.Changes{}, ctx.Err()
	case <-h.l.ctx.Done():
		return control.Changes{}, errEnding
	}
}

func (t *task) finished() {
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// await adds what becomes of p, once over is true. The process is that of then, or
// pid where one has ended.
func (t *task) await(p *program, did string, pid int, over func(*program) bool) {
	t.left++
	p.wait(over, func() {
		c := control.Change{Name: p.def.Name, Did: did, PID: pid, Generation: p.record().Generation}
		if p.handle != nil && did != control.DidStop && did != control.DidRemove {
			c.PID = p.handle.PID()
		}
		t.changes = append(t.changes, p.outcome(c))
		t.finished()
	})
}

// outcome says it when something else came of it than what was asked for.
func (p *program) outcome(c control.Change) control.Change {
	r := p.record()
	switch c.Did {
	case control.DidAdd, control.DidStart, control.DidRestart, control.DidChange:
		if r.Failed {
			c.Reason = r.Reason
			c.Did = control.CannotFinish
			if r.State == lifecycle.Fatal {
				c.Did = control.CouldNotDo
			}
		}
	case control.DidStop:
		if p.killed {
			c.Did = control.DidKill
		}
	}
	return c
}

// tried: it was started, or could not be.
func tried(p *program) bool {
	r := p.record()
	return r.State != lifecycle.Starting && r.State != lifecycle.Stopping || r.Failed
}

// gone: nothing of it is left.
func gone(p *program) bool { return p.record().Phase == lifecycle.Idle }

// at once.
func already(*program) bool { return true }

func pidOf(p *program) int {
	if p.handle == nil {
		return 0
	}
	return p.handle.PID()
}

// chosen are the named programs, or all; an unknown name changes nothing.
func (l *loop) chosen(names []string) ([]*program, error) {
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(l.programs))
	}
	var all []*program
	for _, name := range names {
		p := l.programs[name]
		if p == nil {
			return nil, control.Errorf(control.CodeUnknown, "program %s: there is none of that name; 'pairguard status' shows what there is", name)
		}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all, nil
}

// Up is control.Handler's.
func (h *handler) Up(ctx context.Context, up control.UpParams) (control.Changes, error) {
	return h.run(ctx, func(t *task) error {
		for _, def := range up.Programs { // all or nothing
			if err := h.l.mayDefine(def.Name); err != nil {
				return err
			}
		}
		wanted := map[string]bool{}
		for _, def := range up.Programs {
			if def.Inherit == nil {
				def.Inherit = up.Inherit
			}
			wanted[def.Name] = true
			h.bring(t, def, "")
		}
		if !up.Prune {
			return nil
		}
		for _, name := range slices.Sorted(maps.Keys(h.l.programs)) {
			if p := h.l.programs[name]; !wanted[name] && !p.leaving {
				t.await(p, control.DidRemove, pidOf(p), gone)
				p.leave()
			}
		}
		return nil
	})
}

// bring makes a program be as defined, and run.
func (h *handler) bring(t *task, def control.Definition, request string) {
	l := h.l
	p := l.programs[def.Name]
	if p == nil {
		p = l.newProgram(def, request)
		p.machine = lifecycle.New(policyOf(&def), newRandom)
		t.define(p)
		p.takeStray()
		p.step(lifecycle.Start{})
		t.await(p, control.DidAdd, 0, tried)
		return
	}
	p.leaving = false
	old := p.def
	runs := p.record().Live() && p.record().Wanted == lifecycle.WantRunning
	did := control.DidNothing
	if !def.Equal(&old) || request != p.request {
		restart := def.NeedsRestart(&old)
		p.redefine(def, request)
		t.define(p)
		p.step(lifecycle.Redefine{Policy: policyOf(&def), Changed: restart})
		did = control.DidChange
		if restart {
			did = control.DidRestart
		}
	}
	if !runs {
		p.step(lifecycle.Start{})
		did = control.DidStart
	}
	t.await(p, did, 0, tried)
	t.stored(p)
}

// define stores a definition; the task waits until it is on the disk, or with the
// standby where the disk fails.
func (t *task) define(p *program) {
	t.left += 2
	p.l.scribe.store(p.def.Name, definitionExt, p.definition(), true, func(err error) {
		p.l.recordStored(err)
		p.l.post(t.finished)
	})
	p.giveDefinition(func(bool) { t.finished() })
}

// Run is control.Handler's.
func (h *handler) Run(ctx context.Context, run control.RunParams) (control.RunResult, error) {
	def := run.Program
	var result control.RunResult
	changes, err := h.run(ctx, func(t *task) error {
		if err := h.l.mayDefine(def.Name); err != nil {
			return err
		}
		p := h.l.programs[def.Name]
		if p != nil && p.request == run.Request && run.Request != "" && p.record().Generation > 0 {
			t.await(p, control.DidNothing, 0, tried)
			return nil
		}
		if p != nil && p.record().Live() {
			return control.Errorf(control.CodeTaken, "program %s: the name is taken by process %d; choose another with --name, or end it with 'pairguard stop %s'",
				def.Name, pidOf(p), def.Name)
		}
		h.bring(t, def, run.Request)
		return nil
	})
	if err != nil {
		return result, err
	}
	for _, c := range changes.Programs {
		result = control.RunResult{Name: c.Name, PID: c.PID, Generation: c.Generation, Reason: c.Reason, Log: h.l.logSpec(&def).Path}
	}
	return result, nil
}

// Start is control.Handler's.
func (h *handler) Start(ctx context.Context, n control.NamesParams) (control.Changes, error) {
	return h.each(ctx, n.Names, func(t *task, p *program) {
		did := control.DidStart
		if r := p.record(); r.Wanted == lifecycle.WantRunning && r.Phase == lifecycle.Alive {
			did = control.DidNothing
		} else {
			p.step(lifecycle.Start{})
		}
		t.await(p, did, 0, tried)
		t.stored(p)
	})
}

func (h *handler) each(ctx context.Context, names []string, do func(*task, *program)) (control.Changes, error) {
	return h.run(ctx, func(t *task) error {
		programs, err := h.l.chosen(names)
		if err != nil {
			return err
		}
		for _, p := range programs {
			do(t, p)
		}
		return nil
	})
}

// Stop is control.Handler's.
func (h *handler) Stop(ctx context.Context, s control.StopParams) (control.Changes, error) {
	return h.each(ctx, s.Names, func(t *task, p *program) {
		did, pid := control.DidStop, pidOf(p)
		if !p.record().Live() {
			did = control.DidNothing
		}
		p.step(lifecycle.Stop{Now: s.Now})
		t.await(p, did, pid, gone)
		t.stored(p)
	})
}

// stored makes the task wait until whoever takes over knows of the wish.
func (t *task) stored(p *program) {
	t.left += 2
	p.l.scribe.store(p.def.Name, runExt, p.run, false, func(err error) {
		p.l.recordStored(err)
		p.l.post(t.finished)
	})
	p.l.submit(custody.Item{Key: runItem + p.def.Name, Body: encode(p.run)}, func(bool) { t.finished() })
}

// Restart is control.Handler's.
func (h *handler) Restart(ctx context.Context, r control.RestartParams) (control.Changes, error) {
	return h.run(ctx, func(t *task) error {
		for _, life := range r.Programs {
			programs, err := h.l.chosen([]string{life.Name})
			if err != nil {
				return err
			}
			p := programs[0]
			did := control.DidRestart
			if life.Generation != 0 && life.Generation != p.record().Generation {
				did = control.DidNothing
			}
			p.step(lifecycle.Restart{Gen: life.Generation})
			t.await(p, did, 0, tried)
			t.stored(p)
		}
		return nil
	})
}

// Hold is control.Handler's.
func (h *handler) Hold(ctx context.Context, hold control.HoldParams) (control.Changes, error) {
	return h.each(ctx, hold.Names, func(t *task, p *program) {
		p.step(lifecycle.Hold{For: time.Duration(hold.For)})
		t.await(p, control.DidHold, 0, already)
		t.stored(p)
	})
}

// Unhold is control.Handler's.
func (h *handler) Unhold(ctx context.Context, n control.NamesParams) (control.Changes, error) {
	return h.each(ctx, n.Names, func(t *task, p *program) {
		did := control.DidUnhold
		if p.record().HeldUntil == 0 {
			did = control.DidNothing
		}
		p.step(lifecycle.Unhold{})
		t.await(p, did, 0, already)
		t.stored(p)
	})
}

// Wait is control.Handler's. It does not keep the supervisors: who waits for a program
// that lives waits for one that keeps them.
func (h *handler) Wait(ctx context.Context, w control.WaitParams) (control.WaitResult, error) {
	over := make(chan control.WaitResult, 1)
	err := h.inLoop(ctx, func() error {
		programs, err := h.l.chosen([]string{w.Name})
		if err != nil {
			return err
		}
		p := programs[0]
		p.wait(func(p *program) bool { return !p.record().Live() }, func() {
			p.drained(func() {
				r := p.record()
				over <- control.WaitResult{State: string(r.State), LastExit: exitOf(r), Reason: r.Reason}
			})
		})
		return nil
	})
	if err != nil {
		return control.WaitResult{}, err
	}
	select {
	case r := <-over:
		return r, nil
	case <-ctx.Done():
		return control.WaitResult{}, ctx.Err()
	case <-h.l.ctx.Done():
		return control.WaitResult{}, errEnding
	}
}

// Down is control.Handler's.
func (h *handler) Down(ctx context.Context, _ control.DownParams) (control.Changes, error) {
	h.l.post(h.l.endStrays)
	changes, err := h.each(ctx, nil, func(t *task, p *program) {
		t.await(p, control.DidRemove, pidOf(p), gone)
		p.leave()
	})
	if err != nil {
		return changes, err
	}
	h.l.post(func() {
		if len(h.l.programs) == 0 && !h.l.ending {
			// The answer goes first: a client that hears nothing would ask the next supervisors.
			h.l.active.used = true
			h.l.afterwards(farewell, h.l.considerEnding)
		}
	})
	return changes, nil
}

// farewell is how long the answer to a request may take to be sent.
const farewell = 100 * time.Millisecond

// Status is control.Handler's.
func (h *handler) Status(ctx context.Context, n control.NamesParams) (control.Status, error) {
	member := h.l.member.Status()
	var s control.Status
	err := h.inLoop(ctx, func() error {
		programs, err := h.l.chosen(n.Names)
		if err != nil {
			return err
		}
		s = h.l.report(programs, member)
		return nil
	})
	return s, err
}
