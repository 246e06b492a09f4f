//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pairguard/pairguard/internal/pairdir"
	"github.com/pairguard/pairguard/internal/proc"
)

// TestDrill runs testdata/drill/*.txtar. Beside testscript's own commands they have:
//
//	figures N FILE          FILE is the JSON of N rounds in which every promise held
//	inbrowser PAGE FILE     a browser finds the figures of FILE in PAGE
//	interruptdrill N        interrupt a drill that has N pairs, and see that nothing is left
func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about 15 s")
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/drill", Setup: setUp, RequireExplicitExec: true, RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"figures": cmdFigures, "inbrowser": cmdInBrowser, "interruptdrill": cmdInterruptDrill},
	})
}

func readFigures(ts *testscript.TestScript, file string) (f drillJSON) {
	text := ts.ReadFile(file)
	var keys map[string]any
	ts.Check(json.Unmarshal([]byte(text), &keys))
	for _, key := range []string{"rounds", "crash", "hang", "takeover", "duplicates", "false_kills", "lost_lines", "zombies"} {
		if _, ok := keys[key]; !ok {
			ts.Fatalf("there is no %q in %s", key, text)
		}
		delete(keys, key)
	}
	if len(keys) > 0 {
		ts.Fatalf("further keys: %v", keys)
	}
	ts.Check(json.Unmarshal([]byte(text), &f))
	return f
}

func cmdFigures(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	rounds, err := strconv.Atoi(args[0])
	ts.Check(err)
	f := readFigures(ts, args[1])
	if f.Rounds != rounds || f.Crash.N != rounds || f.Hang.N != rounds || f.Takeover.N != rounds || f.Duplicates+f.FalseKills+f.LostLines+f.Zombies != 0 {
		ts.Fatalf("not what %d good rounds give: %+v", rounds, f)
	}
	for _, s := range []series{f.Crash, f.Hang, f.Takeover} {
		if !(0 < *s.P50 && *s.P50 <= *s.P99 && *s.P99 <= *s.Max) {
			ts.Fatalf("out of order: %v %v %v", *s.P50, *s.P99, *s.Max)
		}
	}
}

func cmdInBrowser(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 2)
	page := ts.ReadFile(args[0])
	if m := regexp.MustCompile(`(?i)https?:|<script|<link|<img|url\(`).FindString(page); m != "" {
		ts.Fatalf("the page is not self-contained: it has %q", m)
	}
	browser, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			ts.Fatalf("the page cannot be looked at: %v; install Debian's chromium", err)
		}
		ts.Logf("not looked at: %v", err)
		return
	}
	shown := dumpDOM(ts, browser, ts.MkAbs(args[0]))
	f := readFigures(ts, args[1])
	for name, s := range map[string]series{"crash": f.Crash, "hang": f.Hang, "takeover": f.Takeover} {
		part := partOf(ts, shown, name)
		want(ts, part, name, fmt.Sprintf(`<dd class="n">%d</dd>`, s.N))
		want(ts, part, name, `<dd class="p50_ms">`+showMS(s.P50)+`</dd>`)
		want(ts, part, name, `<dd class="p99_ms">`+showMS(s.P99)+`</dd>`)
		want(ts, part, name, `<dd class="max_ms">`+showMS(s.Max)+`</dd>`)
		if bars := strings.Count(part, `<rect class="bar"`); bars == 0 || bars > s.N {
			ts.Fatalf("%s: %d bars for %d rounds", name, bars, s.N)
		}
		if strokes := strings.Count(part, `<path class="dot"`); strokes != s.N {
			ts.Fatalf("%s: %d strokes for %d rounds", name, strokes, s.N)
		}
	}
	want(ts, shown, "the summary", fmt.Sprintf("was killed %d times: back after %s as a rule, after %s at the latest.", f.Crash.N, shortMS(*f.Crash.P50), shortMS(*f.Crash.Max)))
	want(ts, shown, "the summary", fmt.Sprintf("was frozen %d times: back after %s as a rule, after %s at the latest.", f.Hang.N, shortMS(*f.Hang.P50), shortMS(*f.Hang.Max)))
	want(ts, shown, "the summary", fmt.Sprintf("was killed %d times: the other one answered after %s as a rule, after %s at the latest.",
		f.Takeover.N, shortMS(*f.Takeover.P50), shortMS(*f.Takeover.Max)))
	counts := partOf(ts, shown, "counts")
	for name, n := range map[string]int{"duplicates": f.Duplicates, "false kills": f.FalseKills, "zombies": f.Zombies, "lost lines": f.LostLines} {
		want(ts, counts, name, fmt.Sprintf(`<dd class="zero" data-of="%s">%d</dd>`, name, n))
	}
	want(ts, shown, "the command that repeats it", `pairguard drill --rounds 4 --json --report 'my page.html'`)
}

func cmdInterruptDrill(ts *testscript.TestScript, neg bool, args []string) {
	noNeg(ts, neg, args, 1)
	cmd := exec.Command(lookPath(ts, "pairguard"), "drill", "--rounds", "1000")
	cmd.Env = environ(ts)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var mark string
	until(ts, "a drill", func() bool {
		found, err := filepath.Glob(filepath.Join(ts.Getenv("TMPDIR"), "pairguard-drill-*", "drillB"+args[0]+".sock"))
		ts.Check(err)
		if len(found) > 0 {
			mark = pairdir.Variable + "=" + filepath.Dir(found[0])
		}
		return len(found) > 0
	})
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-ended:
	case <-time.After(scriptDeadline):
		cmd.Process.Kill()
		ts.Fatalf("the drill does not end")
	}
	if code := cmd.ProcessState.ExitCode(); code != exitFailed || stderr.String() != "pairguard: drill: interrupted; nothing of it is left\n" {
		ts.Fatalf("the interrupted drill ended with %d and said %q", code, stderr.String())
	}
	if left, _ := guardProcesses(mark, "drillA"+args[0], "drillB"+args[0]); len(left) > 0 {
		ts.Fatalf("left: %v", left)
	}
}

func want(ts *testscript.TestScript, text, where, what string) {
	if !strings.Contains(text, what) {
		ts.Fatalf("the page does not show %s in %s: %s", what, where, text)
	}
}

func partOf(ts *testscript.TestScript, dom, id string) string {
	_, rest, found := strings.Cut(dom, `<section id="`+id+`">`)
	if !found {
		ts.Fatalf("the page has no section %s", id)
	}
	text, _, _ := strings.Cut(rest, "</section>")
	return text
}

// dumpDOM is the page after the browser has understood it.
func dumpDOM(ts *testscript.TestScript, browser, file string) string {
	profile, err := os.MkdirTemp("", "pg")
	ts.Check(err)
	defer os.RemoveAll(profile)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	// Without its sandbox, since root has none; it sees nothing but our page.
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-breakpad",
		"--user-data-dir="+profile, "--dump-dom", "file://"+strings.ReplaceAll(file, " ", "%20"))
	cmd.Env = append(os.Environ(), "HOME="+profile)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.Output()
	ts.Check(err)
	return strings.NewReplacer("&#39;", "'", "&nbsp;", "\u00a0").Replace(string(out))
}

// Whatever breaks a promise is said, and costs the exit code.
func TestDrillSaysWhatIsBroken(t *testing.T) {
	d := &drilled{
		rounds: 1, duplicates: 2, falseKills: 1, zombies: 3, stall: 10 * time.Millisecond,
		crash: []revival{{fault: "crash", name: "drillB1", back: 3100 * time.Millisecond}},
		hang:  []revival{{fault: "hang", name: "drillA1", back: 3009 * time.Millisecond}},
		lines: lineCount{printed: 10, lost: 1},
	}
	d.judge()
	if len(d.broken) != 5 {
		t.Fatalf("want duplicates, false kills, zombies, lost lines and one that was away too long; got %q", d.broken)
	}
	var out strings.Builder
	if err := d.print(&out, false); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "A promise was broken.") {
		t.Error(out.String())
	}
}

// Lines that are missing, there twice, torn or more than were printed are told apart
// from those that are there once and in order.
func TestDrillCountsLines(t *testing.T) {
	for log, want := range map[string]lineCount{
		"1\n2\n3\n":    {printed: 3},
		"":             {printed: 3, lost: 3},
		"1\n3\n":       {printed: 3, lost: 1},
		"1\n2\n":       {printed: 3, lost: 1},
		"1\n2\n2\n3\n": {printed: 3, extra: 1},
		"1\n3\n2\n":    {printed: 3, lost: 1, extra: 1},
		"1\n2\n3":      {printed: 3, lost: 1, extra: 1},
		"1\n2x\n3\n":   {printed: 3, lost: 1, extra: 1},
		"1\n2\n3\n4\n": {printed: 3, extra: 1},
	} {
		var c lineCounter
		for _, b := range []byte(log) {
			c.Write([]byte{b})
		}
		if got := c.finish(3); got != want {
			t.Errorf("%q: %+v, want %+v", log, got, want)
		}
	}
}

func TestDrillQuantiles(t *testing.T) {
	var all []revival
	for i := range 100 {
		all = append(all, revival{back: time.Duration(100-i) * time.Millisecond})
	}
	s := seriesOf(all)
	if s.N != 100 || *s.P50 != 50 || *s.P99 != 99 || *s.Max != 100 {
		t.Errorf("%d %v %v %v", s.N, *s.P50, *s.P99, *s.Max)
	}
	if none := seriesOf(nil); none.P50 != nil || none.Max != nil {
		t.Error("unknown is not zero")
	}
}

// The observer does not take the guards' word: a former holder that lives beside
// the new one is a duplicate.
func TestDrillObserverSeesDuplicates(t *testing.T) {
	folder, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	dir, err := pairdir.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	n, err := dir.Name("procA")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := dir.Claim(n)
	if err != nil {
		t.Fatal(err)
	}
	defer claim.Release()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	former, err := proc.Open(other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer former.Close()
	for _, wantDuplicates := range []int{1, 0} {
		o := &observer{dir: dir, changed: make(chan struct{})}
		seen := &seenName{name: n, holders: []*holder{{process: former}}}
		if err := o.lookAt(seen, time.Now()); err != nil {
			t.Fatal(err)
		}
		if o.duplicates != wantDuplicates || seen.pid() != os.Getpid() {
			t.Errorf("%d duplicates, want %d; the holder is %d", o.duplicates, wantDuplicates, seen.pid())
		}
		seen.holders[1].process.Close()
		other.Process.Kill()
		other.Wait()
	}
}
