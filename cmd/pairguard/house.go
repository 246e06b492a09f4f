package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/control"
	"github.com/pairguard/pairguard/internal/ipc"
	"github.com/pairguard/pairguard/internal/lifecycle"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
	"github.com/pairguard/pairguard/internal/supervisor"
)

// house is a folder with both kinds of its inhabitants: members of pairs, and
// programs under the supervisors.
type house struct {
	folder *pairguard.Folder
}

func openHouse(dir string) (*house, error) {
	f, err := pairguard.OpenFolder(dir)
	if err != nil {
		return nil, err
	}
	return &house{folder: f}, nil
}

// programs says what is known of the programs, by the supervisors, or by the disk
// when none listens. It starts and makes nothing.
func (h *house) programs(ctx context.Context) (st control.Status, listening bool, err error) {
	empty := control.Status{
		Dir: h.folder.Path(), Supervisors: []control.Supervisor{}, Programs: []control.Program{}, WhyNotGuarded: "no supervisors run in this folder",
	}
	// The folder of their records is there whenever supervisors were.
	if _, err := os.Lstat(filepath.Join(h.folder.Path(), supervisor.Shelf)); errors.Is(err, fs.ErrNotExist) {
		return empty, false, nil
	}
	client, err := h.client(nil)
	if err != nil {
		return empty, false, err
	}
	st, err = client.Status(ctx, control.NamesParams{})
	if err == nil || !errors.Is(err, ipc.ErrAbsent) && !errors.Is(err, ipc.ErrNotSupported) {
		return st, err == nil, err
	}
	st, err = supervisor.Offline(h.folder.Path())
	return st, false, err
}

// client asks the supervisors, which launch starts when there are none; nil: then that
// is an error.
func (h *house) client(launch func(context.Context) error) (*control.Client, error) {
	return supervisor.NewClient(h.folder.Path(), launch)
}

// starter is a client that starts the supervisors when there are none.
func (h *house) starter() (*control.Client, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("programs cannot be guarded on %s yet: pairs can, see 'pairguard guard --help'", runtime.GOOS)
	}
	return h.client((&launcher{house: h}).launch)
}

// launcher starts supervisors.
type launcher struct {
	house *house
	mu    sync.Mutex
	last  *proc.Handle
}

// launch starts the first supervisor, which starts the other. When the one that was
// started before has failed it says why instead.
func (l *launcher) launch(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, err := pairdir.Open(l.house.folder.Path())
	if err != nil {
		return err
	}
	name, err := dir.Name(control.First)
	if err != nil {
		return err
	}
	output, err := dir.OpenOutput(name)
	if err != nil {
		return err
	}
	defer output.Close()
	if l.last != nil && failed(l.last) {
		return fmt.Errorf("the supervisors cannot start: %s (%s)", cmp.Or(lastLine(output.Name()), l.last.Exit().String()), output.Name())
	}
	command, err := superviseCommand(dir.Path(), control.First, control.Second)
	if err != nil {
		return err
	}
	// The root folder, so that no disk is kept from being unmounted.
	l.last, err = proc.Start(proc.Spec{Path: command[0], Args: command[1:], Dir: filepath.VolumeName(dir.Path()) + "/", Env: inherited(), Output: output})
	if err != nil {
		return fmt.Errorf("the supervisors cannot start: %w", err)
	}
	return nil
}

// failed: it has ended by itself, and not because another one is there already. One that
// was killed, or whose exit is not known, is started again.
func failed(h *proc.Handle) bool {
	select {
	case <-h.Done():
		e := h.Exit()
		return e.Known && e.Signal == "" && e.Code != exitDone && e.Code != exitNameTaken
	default:
		return false
	}
}

func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var last string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		last = lines.Text()
	}
	return strings.TrimPrefix(last, "pairguard: ")
}

// inherited is our environment without what guards and supervisors put into that of
// what they start.
func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "PAIRGUARD_REVIVAL=") || strings.HasPrefix(entry, supervisor.Mark+"=")
	})
}

// live: it runs, or will without anybody asking.
func live(p control.Program) bool {
	switch lifecycle.State(p.State) {
	case lifecycle.Stopped, lifecycle.Exited, lifecycle.Fatal:
		return false
	default:
		return true
	}
}

// isSupervisor: a member that nobody but us has to know.
func isSupervisor(name string) bool { return name == control.First || name == control.Second }

// members are the names of those who are or should be there, without supervisors.
func (h *house) members(ctx context.Context) ([]string, error) {
	all, err := h.folder.Members(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		if !isSupervisor(m.Self) {
			names = append(names, m.Self)
		}
	}
	return names, nil
}

// chosen are names, split by what they are the names of.
type chosen struct {
	programs  []control.Program
	members   []string
	listening bool // the supervisors do
}

func (c chosen) names() []string {
	var names []string
	for _, p := range c.programs {
		names = append(names, p.Name)
	}
	return names
}

// choose finds the names among programs and members; without names it is everything,
// but for the supervisors.
func (h *house) choose(ctx context.Context, names []string) (c chosen, err error) {
	st, listening, err := h.programs(ctx)
	if err != nil {
		return c, err
	}
	c.listening = listening
	if len(names) == 0 {
		c.programs = st.Programs
		c.members, err = h.members(ctx)
		return c, err
	}
	for _, name := range names {
		i := slices.IndexFunc(st.Programs, func(p control.Program) bool { return p.Name == name })
		if i >= 0 {
			c.programs = append(c.programs, st.Programs[i])
			continue
		}
		members, err := h.folder.Members(ctx, name)
		if errors.Is(err, pairguard.ErrUnknownName) {
			return c, h.unknown(ctx, name, st, err)
		}
		if err != nil {
			return c, err
		}
		c.members = append(c.members, members[0].Self) // an address can be written in several ways
	}
	return c, nil
}

// unknown is the error about a name that neither a program nor a member has.
func (h *house) unknown(ctx context.Context, name string, st control.Status, asMember error) error {
	if len(st.Programs) == 0 {
		return asMember
	}
	known, err := h.members(ctx)
	if err != nil {
		return err
	}
	for _, p := range st.Programs {
		known = append(known, p.Name)
	}
	slices.Sort(known)
	return fmt.Errorf("%w %q in %s: known there: %s", pairguard.ErrUnknownName, name, st.Dir, strings.Join(known, ", "))
}

// supervisorsGone waits until neither supervisor is there; false: not within d.
func (h *house) supervisorsGone(ctx context.Context, d time.Duration) (bool, error) {
	dir, err := pairdir.Open(h.folder.Path())
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		held := false
		for _, text := range []string{control.First, control.Second} {
			name, err := dir.Name(text)
			if err != nil {
				return false, err
			}
			holder, err := dir.Holder(name)
			if err != nil {
				return false, err
			}
			held = held || holder.Held
		}
		if !held {
			return true, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false, nil
		}
	}
}
