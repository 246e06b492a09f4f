package output

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// roleVariable makes the test binary run as one of the processes that a test needs.
const roleVariable = "PAIRGUARD_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		time.AfterFunc(2*time.Minute, func() { os.Exit(98) })
		os.Exit(play(role))
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	goleak.VerifyTestMain(m)
}

// deadline is how long a test waits for what has to come; a slow machine is no failure.
const deadline = 60 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

// notes collects what a stream says.
type notes struct {
	mu    sync.Mutex
	texts []string
	news  chan struct{}
}

func newNotes() *notes { return &notes{news: make(chan struct{}, 1000)} }

func (n *notes) add(text string) {
	n.mu.Lock()
	n.texts = append(n.texts, text)
	n.mu.Unlock()
	n.news <- struct{}{}
}

func (n *notes) all() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.texts, "\n")
}

// await waits for a note that contains a text.
func (n *notes) await(t testing.TB, text string) {
	t.Helper()
	timeout := time.After(deadline)
	for !strings.Contains(n.all(), text) {
		select {
		case <-n.news:
		case <-timeout:
			t.Fatalf("no note says %q; there is %q", text, n.all())
		}
	}
}

// rig is one program's pipe and log with a pump.
type rig struct {
	t      testing.TB
	pump   *Pump
	stream *Stream
	spec   LogSpec
	pipe   string
	writer *os.File // the program's end
	notes  *notes
}

func newRig(t testing.TB, sys system, spec LogSpec, hooks Hooks) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, pipe: filepath.Join(dir, "web.fifo"), notes: newNotes()}
	if spec.Path == "" {
		spec.Path = filepath.Join(dir, "logs", "web.log")
	}
	r.spec = spec
	must(t, MakePipe(r.pipe))
	r.writer = must1(OpenWriter(r.pipe))(t)
	t.Cleanup(func() { r.writer.Close() })
	r.pump = must1(newPump(sys))(t)
	t.Cleanup(func() { r.pump.Close() })
	if hooks.Note == nil {
		hooks.Note = r.notes.add
	}
	r.stream = must1(r.pump.Add(must1(OpenReader(r.pipe))(t), must1(OpenLog(spec))(t), spec, hooks))(t)
	return r
}

func (r *rig) write(text string) {
	r.t.Helper()
	_, err := r.writer.WriteString(text)
	must(r.t, err)
}

func (r *rig) drained() {
	r.t.Helper()
	must(r.t, r.stream.Drained(within(r.t)))
}

// all is what the log and its older files have.
func (r *rig) all() string {
	r.t.Helper()
	var b bytes.Buffer
	_, err := Copy(&b, r.spec, true)
	must(r.t, err)
	return b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// lines are numbered lines from one number up to another.
func lines(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(line(n))
	}
	return b.String()
}

// line is one numbered line; the width changes, so that lines end anywhere in a page.
func line(n int) string { return fmt.Sprintf("%d %s\n", n, strings.Repeat("x", n%61)) }

// wantLines checks that a text has each numbered line once, whole and in order.
func wantLines(t testing.TB, text string, from, to int) {
	t.Helper()
	n := from
	for l := range strings.Lines(text) {
		if l != line(n) {
			t.Fatalf("line %d expected, there is %q", n, l)
		}
		n++
	}
	if n != to {
		t.Fatalf("the lines end before %d, not before %d", n, to)
	}
}

// older are the numbers of the older files of a log.
func older(t testing.TB, path string) (numbers []int) {
	t.Helper()
	for k := 1; k <= 200; k++ {
		if _, err := os.Lstat(path + "." + strconv.Itoa(k)); err == nil {
			numbers = append(numbers, k)
		}
	}
	return numbers
}

func itoa(n int) string { return strconv.Itoa(n) }

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
