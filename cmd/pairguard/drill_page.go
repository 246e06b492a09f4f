package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// fact is one line about the machine.
type fact struct{ Name, Value string }

// page is the report in the making: a temporary file beside the one that it
// becomes. It is made first, so that minutes are not drilled in vain.
type page struct {
	path string
	file *os.File // nil: no report is wanted
}

func newPage(path string) (*page, error) {
	if path == "" {
		return &page{}, nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil, fmt.Errorf("--report %s: is a folder; name a file in it", path)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".drill-*.html")
	if err != nil {
		return nil, fmt.Errorf("--report %s: cannot be written: %w", path, err)
	}
	return &page{path: path, file: f}, nil
}

// write makes the page and puts it in its place.
func (p *page) write(d *drilled) error {
	if p.file == nil {
		return nil
	}
	out := bufio.NewWriter(p.file)
	newView(d).draw(&markup{out})
	err := out.Flush()
	if err == nil {
		err = p.file.Chmod(0o644)
	}
	if closeErr := p.file.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(p.file.Name(), p.path)
	}
	if err != nil {
		return fmt.Errorf("--report %s: %w", p.path, err)
	}
	p.file = nil
	return nil
}

// discard removes what has not become a page.
func (p *page) discard() {
	if p.file != nil {
		p.file.Close()
		os.Remove(p.file.Name())
	}
}

// view is what the page shows.
type view struct {
	Verdict string
	Summary string // of what was done and what came of it, for who reads no further
	Held    bool
	Broken  []string
	Date    string
	Faults  []faultView
	Counts  []countRow
	Looks   string
	Facts   []fact
	Command string
	Rounds  []revivalRow
}

type faultView struct {
	faultRow
	Plot  *plot
	Story string
}

type revivalRow struct {
	Fault, Name string
	Number      int // in the rounds of this fault
	At          string
	Old, New    int // pids
	Back        string
}

var faultStories = map[string]string{
	"crash":    "From the signal to the first sign of life of the new process. The other guard hears of the death from the kernel, makes sure, and starts the executable again.",
	"hang":     "From the signal to the first sign of life of the new process. The stopped process still exists and accepts connections; 2 s of silence since its last heartbeat, up to 1 s before the signal, make it suspect; then it is judged, killed, proved dead and replaced. The promise is 3 s.",
	"takeover": "From the signal to the first answer of the other supervisor. It holds a copy of everything that the active one held, makes sure that that one is dead, and goes on; the program under guard notices nothing.",
}

func newView(d *drilled) view {
	v := view{
		Verdict: d.verdict(), Summary: d.summary(), Held: len(d.broken) == 0, Broken: d.broken,
		Date: d.began.Format("2 January 2006, 15:04 MST"), Counts: d.counts(),
		Looks: strconv.Itoa(d.looks), Command: d.command,
	}
	for _, f := range d.faults() {
		limit := 0.0
		if f.Name == "hang" {
			limit = roundMS(revivalLimit)
		}
		v.Faults = append(v.Faults, faultView{f, newPlot(f.series, sortedMS(f.revivals), limit), faultStories[f.Name]})
	}
	v.Facts = append(machineFacts(),
		fact{"processors used", fmt.Sprint(runtime.NumCPU())},
		fact{"pairguard", fmt.Sprintf("%s, %s, %s/%s", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)},
		fact{"the drill took", fmt.Sprintf("%.1f s", d.took.Seconds())},
		fact{"the observer looked", fmt.Sprintf("%d times, at most %s apart", d.looks, milliseconds(d.stall))},
	)
	for _, all := range [][]revival{d.crash, d.hang, d.takeover} {
		for i, r := range all {
			at := fmt.Sprintf("%.1f s", r.struck.Sub(d.began).Seconds())
			v.Rounds = append(v.Rounds, revivalRow{Fault: r.fault, Name: r.name, Number: i + 1, At: at, Old: r.oldPID, New: r.pid, Back: milliseconds(r.back)})
		}
	}
	return v
}

// summaries say how often it was done, and how long it took as a rule and at most.
var summaries = map[string]string{
	"crash":    " One of them was killed %s: back after %s as a rule, after %s at the latest.",
	"hang":     " One of them was frozen %s: back after %s as a rule, after %s at the latest.",
	"takeover": " The active one of two supervisors was killed %s: the other one answered after %s as a rule, after %s at the latest.",
}

// summary says in a sentence or two what was done and how soon they were back.
func (d *drilled) summary() string {
	var words strings.Builder
	words.WriteString("Two processes guard each other.")
	for _, f := range d.faults() {
		if f.N == 0 {
			continue
		}
		times := fmt.Sprintf("%d times", f.N)
		if f.N == 1 {
			times = "once"
		}
		fmt.Fprintf(&words, summaries[f.Name], times, shortMS(*f.P50), shortMS(*f.Max))
	}
	return words.String()
}

// shortMS shows a time in ms as people say it.
func shortMS(ms float64) string {
	if ms >= 1000 {
		return fmt.Sprintf("%.1f\u00a0s", ms/1000)
	}
	return fmt.Sprintf("%.0f\u00a0ms", ms)
}
