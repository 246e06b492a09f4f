package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pairguard/pairguard"
	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// scriptDeadline is how long a script waits for what must happen. It is long
// because nothing but a failure ever uses it up.
const scriptDeadline = 30 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pairguard": main, "plainpeer": plainPeer})
}

// TestScript runs testdata/script/*.txtar. Beside testscript's own commands they
// have:
//
//	event SELF KIND [REGEXP]  wait for the next such event in SELF's log, after the last one that event found there
//	noevent SELF KIND         fail if such an event stands in SELF's log
//	holder NAME VAR           wait until NAME is held, remember the process and put its pid into $VAR
//	newholder NAME VAR        wait until NAME is held by another process than the one in $VAR, and take that
//	sig SIGNAL NAME           send a signal (INT, TERM, STOP, CONT, TSTP, HUP, KILL) to the holder of NAME
//	dead VAR...               wait until the remembered process has ended
//	stopped VAR               wait until the remembered process is in state T
//	free NAME...              wait until nobody holds NAME
//	again SIGNAL VAR          send the signal to the remembered process again and again until it has ended
//	dropreader COMMAND...     start a command whose standard output nobody reads
//	code N ARG...             run pairguard, which must exit with N
//	usage REGEXP ARG...       run pairguard, which must exit with 2 and say so in one line on stderr alone
//	interruptdemo REGEXP      run the demo, interrupt it at the line that matches, and see that nothing is left
//	interruptrun N REGEXP ARG...  run a program with pairguard run, press Ctrl-C at each line that matches; it must exit with N
//	shows NAME REGEXP         wait until the log of the program NAME has that
//	guarded                   wait until the standby has acknowledged everything
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setUp,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"event": cmdEvent, "noevent": cmdNoEvent, "holder": cmdHolder, "newholder": cmdNewHolder, "sig": cmdSig,
			"dead": cmdDead, "stopped": cmdStopped, "free": cmdFree, "again": cmdAgain, "dropreader": cmdDropReader,
			"code": cmdCode, "usage": cmdUsage, "interruptdemo": cmdInterruptDemo, "interruptrun": cmdInterruptRun,
			"shows": cmdShows, "guarded": cmdGuarded,
		},
	})
}

// world is what one script acts in.
type world struct {
	folder *pairguard.Folder
	dir    *pairdir.Dir
	cast   map[string]*proc.Handle // by variable
	seen   map[string]int          // by member: how many of its events the script has passed
}

// setUp gives each script a folder of its own with a short path, because the
// path of a socket has a limit, and ends whatever the script leaves there.
func setUp(env *testscript.Env) error {
	path, err := os.MkdirTemp("", "pg")
	if err != nil {
		return err
	}
	env.Defer(func() { os.RemoveAll(path) })
	w := &world{cast: map[string]*proc.Handle{}, seen: map[string]int{}}
	if w.folder, err = pairguard.OpenFolder(path); err != nil {
		return err
	}
	if w.dir, err = pairdir.Open(path); err != nil {
		return err
	}
	env.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), scriptDeadline)
		defer cancel()
		if report, err := w.folder.Stop(ctx, 0); err != nil {
			env.T().Log(report, err)
			env.T().FailNow()
		}
	})
	env.Setenv("PAIRGUARD_DIR", path)
	env.Values["world"] = w
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value("world").(*world) }

// until polls for what no event announces, such as the state of a process.
func until(ts *testscript.TestScript, what string, happened func() bool) {
	deadline := time.After(scriptDeadline)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-tick.C:
		case <-deadline:
			events, _ := worldOf(ts).folder.Events()
			for _, e := range events {
				ts.Logf("%s %s %s pid %d: %s", e.Time.Format("05.000"), e.Self, e.Kind, e.PeerPID, e.Reason)
			}
			ts.Fatalf("not seen within %v: %s", scriptDeadline, what)
		}
	}
}

func noNeg(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("wrong use: see the comment of TestScript")
	}
}

func cmdEvent(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	w := worldOf(ts)
	pattern := regexp.MustCompile("")
	if len(args) > 2 {
		pattern = regexp.MustCompile(args[2])
	}
	until(ts, fmt.Sprintf("event %q", args), func() bool {
		own := eventsOf(ts, args[0])
		from := min(w.seen[args[0]], len(own))
		i := slices.IndexFunc(own[from:], func(e pairguard.Event) bool {
			return string(e.Kind) == args[1] && pattern.MatchString(e.Reason)
		})
		if i >= 0 {
			w.seen[args[0]] = from + i + 1
		}
		return i >= 0
	})
}

func cmdNoEvent(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	for _, e := range eventsOf(ts, args[0]) {
		if string(e.Kind) == args[1] {
			ts.Fatalf("%s saw %s: %s", e.Self, e.Kind, e.Reason)
		}
	}
}

// eventsOf is what one member logged.
func eventsOf(ts *testscript.TestScript, self string) []pairguard.Event {
	events, err := worldOf(ts).folder.Events()
	ts.Check(err)
	return slices.DeleteFunc(events, func(e pairguard.Event) bool { return e.Self != self })
}

// name parses a name as the processes of the script do: where qt:NAME is depends
// on their $TMPDIR, not on ours.
func (w *world) name(ts *testscript.TestScript, text string) pairdir.Name {
	if socket, ok := strings.CutPrefix(text, "qt:"); ok {
		text = filepath.Join(ts.Getenv("TMPDIR"), socket)
	}
	n, err := w.dir.Name(text)
	ts.Check(err)
	return n
}

// open waits for a holder of the name that accept takes and opens a handle on it.
func open(ts *testscript.TestScript, name string, accept func(pid int) bool) *proc.Handle {
	w := worldOf(ts)
	n := w.name(ts, name)
	var h *proc.Handle
	until(ts, name+" is held", func() bool {
		holder, err := w.dir.Holder(n)
		ts.Check(err)
		if !holder.Held || !accept(holder.PID) {
			return false
		}
		h, err = proc.Open(holder.PID)
		return err == nil
	})
	return h
}

func (w *world) keep(ts *testscript.TestScript, variable string, h *proc.Handle) {
	w.cast[variable] = h
	ts.Setenv(variable, strconv.Itoa(h.PID()))
}

func cmdHolder(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	worldOf(ts).keep(ts, args[1], open(ts, args[0], func(int) bool { return true }))
}

func cmdNewHolder(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	w := worldOf(ts)
	old := w.cast[args[1]].PID()
	w.keep(ts, args[1], open(ts, args[0], func(pid int) bool { return pid != old }))
}

func cmdSig(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	s, ok := scriptSignals[args[0]]
	if !ok {
		ts.Fatalf("no such signal: %s", args[0])
	}
	h := open(ts, args[1], func(int) bool { return true })
	defer h.Close()
	ts.Check(h.Signal(s))
}

func cmdDead(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	for _, variable := range args {
		h := worldOf(ts).cast[variable]
		until(ts, variable+" has ended", func() bool {
			select {
			case <-h.Done():
				return true
			default:
				return false
			}
		})
	}
}

func cmdStopped(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	pid := worldOf(ts).cast[args[0]].PID()
	stateT := regexp.MustCompile(`(?m)^State:\s+T`)
	until(ts, args[0]+" is stopped", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		ts.Check(err)
		return stateT.Match(text)
	})
}

func cmdFree(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	w := worldOf(ts)
	for _, name := range args {
		n := w.name(ts, name)
		until(ts, name+" is free", func() bool {
			holder, err := w.dir.Holder(n)
			ts.Check(err)
			return !holder.Held
		})
	}
}
