package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor/output"
)

// canTakeOver: supervisors are there.
const canTakeOver = runtime.GOOS == "linux"

const (
	// printer is the name of the program that the drill's supervisors guard.
	printer = "lines"
	// Small logs, so that takeovers meet rotations; all of them are kept.
	logSize, logKeep = 100_000, 1000
)

// post is a folder of its own in which two supervisors guard a program that prints
// numbered lines.
type post struct {
	dir      string
	output   string // the log of the program
	house    *house
	client   *control.Client
	observer *observer
	program  *proc.Handle // nil: not started
	asked    bool         // for what is to be ended

	// What came of it.
	lines                           lineCount
	falseKills, zombies, duplicates int
}

// takeovers kills the active supervisor, again and again.
func (r *shootingRange) takeovers(ctx context.Context, rounds int, bar *progress) error {
	if !canTakeOver {
		return nil
	}
	bar.show("starting supervisors")
	p, err := r.openPost()
	if err != nil {
		return err
	}
	if err := p.begin(ctx); err != nil {
		return err
	}
	for range rounds {
		back, err := p.round(ctx)
		if err != nil {
			return err
		}
		r.taking = append(r.taking, back)
		bar.step("takeovers")
	}
	return p.finish(ctx)
}

// openPost makes the folder. Its name is short, since the paths of sockets may not be long.
func (r *shootingRange) openPost() (*post, error) {
	path, err := os.MkdirTemp("", "pgdrill-")
	if err != nil {
		return nil, err
	}
	client, h, dir, err := openPostFolder(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	r.post = &post{dir: dir.Path(), house: h, client: client, observer: observe(dir)}
	for _, name := range []string{control.Active, control.First, control.Second} {
		if err := r.post.observer.add(name); err != nil {
			return nil, err
		}
	}
	return r.post, nil
}

func openPostFolder(path string) (*control.Client, *house, *pairdir.Dir, error) {
	dir, err := pairdir.Open(path)
	if err != nil {
		return nil, nil, nil, err
	}
	folder, err := pairguard.OpenFolder(path)
	if err != nil {
		return nil, nil, nil, err
	}
	h := &house{folder: folder}
	client, err := h.starter()
	return client, h, dir, err
}

// begin starts the supervisors with the program, and waits until they guard it.
func (p *post) begin(ctx context.Context) error {
	exe, err := ownExecutable()
	if err != nil {
		return err
	}
	def := control.Default()
	def.Name, def.Dir, def.Inherit = printer, p.dir, inherited()
	def.Command = []string{exe, "drill", "lines", p.total()}
	def.Log = control.Log{Size: logSize, Keep: logKeep}
	p.asked = true
	started, err := p.client.Run(ctx, control.RunParams{Program: def, Request: "drill"})
	if err != nil {
		return err
	}
	if started.PID == 0 {
		return fmt.Errorf("the program cannot be started: %s", started.Reason)
	}
	p.output = started.Log
	if p.program, err = proc.Open(started.PID); err != nil {
		return err
	}
	_, err = p.settle(ctx, 0)
	return err
}

// total is the file into which the program writes how many lines it has printed.
func (p *post) total() string { return filepath.Join(p.dir, "lines.total") }

// round kills the active supervisor and waits for the answer of the other one, and
// then until a new standby has everything.
func (p *post) round(ctx context.Context) (revival, error) {
	active := p.observer.strike(control.Active)
	struck := time.Now()
	if err := active.process.Kill(); err != nil {
		return revival{}, fmt.Errorf("the active supervisor (pid %d): %w", active.process.PID(), err)
	}
	back := revival{fault: "takeover", name: control.Active, oldPID: active.process.PID(), struck: struck}
	st, err := p.client.Status(ctx, control.NamesParams{})
	if err != nil {
		return back, fmt.Errorf("the supervisors are %w: %w", errNotBack, err)
	}
	back.back, back.pid = time.Since(struck), pidOfRole(st, control.RoleActive)
	back.seen = back.back
	if _, err := p.observer.await(ctx, control.Active, active); err != nil {
		return back, fmt.Errorf("after a takeover %w", err)
	}
	_, err = p.settle(ctx, back.oldPID)
	return back, err
}

func pidOfRole(st control.Status, role string) int {
	for _, one := range st.Supervisors {
		if one.Role == role {
			return one.PID
		}
	}
	return 0
}

// settle waits until both supervisors guard the program, none of them the one that
// was killed, and the observer has seen both.
func (p *post) settle(ctx context.Context, killed int) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, demoStep)
	defer cancel()
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		st, err := p.client.Status(ctx, control.NamesParams{})
		if err == nil && st.Guarded && p.sees(st, killed) {
			return st, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return st, fmt.Errorf("both supervisors are %w after %v: %s", errNotBack, demoStep, st.WhyNotGuarded)
		}
	}
}

func (p *post) sees(st control.Status, killed int) bool {
	active, standby := pidOfRole(st, control.RoleActive), pidOfRole(st, control.RoleStandby)
	now := p.observer.current(control.Active, control.First, control.Second)
	return active != killed && standby != killed && now[control.Active] == active &&
		(now[control.First] == active && now[control.Second] == standby || now[control.First] == standby && now[control.Second] == active)
}

// readLines ends the program and reads what of its lines is in the log.
func (p *post) readLines(ctx context.Context) (lineCount, error) {
	if _, err := p.client.Stop(ctx, control.StopParams{}); err != nil {
		return lineCount{}, err
	}
	if _, err := p.client.Wait(ctx, control.WaitParams{Name: printer}); err != nil {
		return lineCount{}, err
	}
	text, err := os.ReadFile(p.total())
	if err != nil {
		return lineCount{}, err
	}
	total, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return lineCount{}, err
	}
	var c lineCounter
	if _, err := output.Copy(&c, output.LogSpec{Path: p.output, Size: logSize, Keep: logKeep}, true); err != nil {
		return lineCount{}, err
	}
	return c.finish(total), nil
}

// finish collects what the supervisors have shown while they are there, and ends them.
func (p *post) finish(ctx context.Context) error {
	st, err := p.client.Status(ctx, control.NamesParams{})
	if err != nil {
		return err
	}
	ended, everybody := p.observer.innocents()
	p.falseKills, p.zombies = ended, awaitReaped(everybody)
	if !lives(p.program) {
		p.falseKills++
	} else if len(st.Programs) != 1 || st.Programs[0].Generation != 1 {
		p.duplicates++
	}
	if p.lines, err = p.readLines(ctx); err != nil {
		return err
	}
	return p.down(ctx)
}

func (p *post) down(ctx context.Context) error {
	if !p.asked { // or they would be started to be ended
		return nil
	}
	if _, err := p.client.Down(ctx, control.DownParams{}); err != nil {
		return err
	}
	p.asked = false
	// One of them that was killed before both have ended would be started again by the other.
	gone, err := p.house.supervisorsGone(ctx, downPatience)
	if err == nil && !gone {
		err = fmt.Errorf("the drill's supervisors in %s have not ended within %v", p.dir, downPatience)
	}
	return err
}

// review adds what the takeovers have shown.
func (p *post) review(d *drilled) error {
	if p == nil {
		return nil
	}
	p.observer.mu.Lock()
	defer p.observer.mu.Unlock()
	d.lines, d.falseKills, d.zombies, d.duplicates = p.lines, d.falseKills+p.falseKills, d.zombies+p.zombies, d.duplicates+p.duplicates+p.observer.duplicates
	d.looks, d.stall = d.looks+p.observer.looks, max(d.stall, p.observer.slowest)
	return p.observer.err
}

// clear ends whatever is left.
func (p *post) clear(ctx context.Context) error {
	if p == nil {
		return nil
	}
	err := p.down(ctx)
	p.observer.close()
	_, everybody := p.observer.innocents()
	if p.program != nil {
		everybody = append(everybody, p.program)
	}
	errs := []error{err}
	if freezeSignal != nil { // or one of them starts another again
		for _, h := range everybody {
			_ = h.Signal(freezeSignal)
		}
	}
	for _, h := range everybody {
		errs = append(errs, h.Kill(), gone(ctx, h))
		h.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}
