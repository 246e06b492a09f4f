package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// revivalLimit is how long a peer may be away with the defaults (the drill's
// backoff of 0 only makes it shorter).
const revivalLimit = 3 * time.Second

// revival is one round: who was struck by which fault, and how soon the name was
// back.
type revival struct {
	fault, name string
	guard       string // who revived it
	oldPID, pid int
	struck      time.Time     // when the signal was sent
	seen        time.Duration // until the observer saw the new holder
	back        time.Duration // until the guard heard the new process, or the other supervisor answered; 0: not known yet
}

// drilled is what came of a drill.
type drilled struct {
	rounds      int
	crash, hang []revival
	takeover    []revival // of supervisors
	lines       lineCount // of the program that they guard
	duplicates  int
	falseKills  int
	zombies     int
	looks       int           // of the observer
	stall       time.Duration // the longest time between two of them
	broken      []string      // promises, in words
	began       time.Time
	took        time.Duration
	command     string
}

// series is how one kind of fault went; the stable form of design and manual.
type series struct {
	N   int      `json:"n"`
	P50 *float64 `json:"p50_ms"` // null: there was none
	P99 *float64 `json:"p99_ms"`
	Max *float64 `json:"max_ms"`
}

// drillJSON is the stable output; fields are added, never renamed.
type drillJSON struct {
	Rounds   int    `json:"rounds"`
	Crash    series `json:"crash"`
	Hang     series `json:"hang"`
	Takeover series `json:"takeover"` // of supervisors; n is 0 where there are none

	Duplicates int `json:"duplicates"`
	FalseKills int `json:"false_kills"`
	LostLines  int `json:"lost_lines"` // in the takeovers
	Zombies    int `json:"zombies"`
}

func (d *drilled) stable() drillJSON {
	return drillJSON{
		Rounds: d.rounds, Crash: seriesOf(d.crash), Hang: seriesOf(d.hang), Takeover: seriesOf(d.takeover),
		Duplicates: d.duplicates, FalseKills: d.falseKills, LostLines: int(d.lines.lost), Zombies: d.zombies,
	}
}

func seriesOf(all []revival) series {
	s := series{N: len(all)}
	if len(all) == 0 {
		return s
	}
	ms := sortedMS(all)
	at := func(q float64) *float64 {
		// The smallest value that at least the share q of all does not exceed.
		v := ms[max(int(math.Ceil(q*float64(len(ms))))-1, 0)]
		return &v
	}
	s.P50, s.P99, s.Max = at(0.5), at(0.99), at(1)
	return s
}

// sortedMS are the times in milliseconds, as precise as they are shown.
func sortedMS(all []revival) []float64 {
	var ms []float64
	for _, r := range all {
		ms = append(ms, roundMS(r.back))
	}
	slices.Sort(ms)
	return ms
}

func roundMS(d time.Duration) float64 {
	return math.Round(float64(d)/float64(100*time.Microsecond)) / 10
}

// judge turns what was seen into broken promises. Time that the drill itself got
// no processor is not held against the guards: they cannot have had more.
func (d *drilled) judge() {
	limit := revivalLimit + d.stall
	for _, r := range slices.Concat(d.crash, d.hang, d.takeover) {
		if r.back > limit {
			d.broken = append(d.broken, fmt.Sprintf("%s was away for %s after a %s, more than %s", r.name, milliseconds(r.back), r.fault, milliseconds(limit)))
		}
	}
	if d.duplicates > 0 {
		d.broken = append(d.broken, fmt.Sprintf("there were %d duplicates of a name", d.duplicates))
	}
	if d.falseKills > 0 {
		d.broken = append(d.broken, fmt.Sprintf("%d healthy processes ended", d.falseKills))
	}
	if d.lines.lost > 0 || d.lines.extra > 0 {
		d.broken = append(d.broken, fmt.Sprintf("of %d lines under supervisors %d were lost and %d were torn or there twice", d.lines.printed, d.lines.lost, d.lines.extra))
	}
	if d.zombies > 0 {
		d.broken = append(d.broken, fmt.Sprintf("%d dead processes were not reaped by their parent", d.zombies))
	}
}

// faults are the rows of the table, for people.
func (d *drilled) faults() []faultRow {
	rows := []faultRow{
		{"crash", "kill -9", seriesOf(d.crash), d.crash},
		{"hang", "kill -STOP", seriesOf(d.hang), d.hang},
	}
	if canTakeOver {
		rows = append(rows, faultRow{"takeover", "kill -9", seriesOf(d.takeover), d.takeover})
	}
	return rows
}

type faultRow struct {
	Name, How string
	series
	revivals []revival
}

// counts are what must be 0.
func (d *drilled) counts() []countRow {
	rows := []countRow{
		{"duplicates", d.duplicates, "two live processes of one name"},
		{"false kills", d.falseKills, "processes that ended without a fault of the drill"},
		{"zombies", d.zombies, "dead processes that a guard did not reap"},
	}
	if canTakeOver {
		rows = append(rows, countRow{"lost lines", int(d.lines.lost), fmt.Sprintf("of %d that a program printed during the takeovers", d.lines.printed)})
	}
	return rows
}

type countRow struct {
	Name  string
	N     int
	Means string
}

// print writes the result: a table, or one JSON object.
func (d *drilled) print(w io.Writer, asJSON bool) error {
	if asJSON {
		line, err := json.Marshal(d.stable())
		if err != nil {
			return err
		}
		_, err = w.Write(append(line, '\n'))
		return err
	}
	fmt.Fprintf(w, "%-22s %7s %12s %12s %12s\n", "back after", "rounds", "p50", "p99", "max")
	for _, f := range d.faults() {
		fmt.Fprintf(w, "%-22s %7d %12s %12s %12s\n", fmt.Sprintf("a %s (%s)", f.Name, f.How), f.N, showMS(f.P50), showMS(f.P99), showMS(f.Max))
	}
	fmt.Fprintln(w)
	for _, c := range d.counts() {
		fmt.Fprintf(w, "%-22s %7d   %s\n", c.Name, c.N, c.Means)
	}
	_, err := fmt.Fprintf(w, "\n%s The observer looked %d times; it all took %.1f s.\n", d.verdict(), d.looks, d.took.Seconds())
	return err
}

func (d *drilled) verdict() string {
	if len(d.broken) > 0 {
		return "A promise was broken."
	}
	return "Every promise held."
}

// showMS shows a time of a series.
func showMS(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", *ms)
}
