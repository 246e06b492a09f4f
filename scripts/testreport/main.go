// Command testreport runs go test with its arguments and reports: a line for each package, the output of what failed, and every test
// that was skipped with its reason. With CI=true a test skipped for a missing tool is a failure: nobody would see it there.
// It exits 0 when everything passed, else 1.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// event is what `go test -json` prints, a line each (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Elapsed    float64
	Output     string
}

// missingTool recognises the reason of a skip that an installed tool would have prevented.
var missingTool = regexp.MustCompile(`(?i)missing tool|not installed|executable file not found|command not found`)

// report collects what is worth saying about one run.
type report struct {
	out     io.Writer
	strict  bool // a skip for a missing tool is a failure
	output  map[string]*strings.Builder
	skipped []string
	passed  int
	failed  bool
}

func main() {
	r := &report{out: os.Stdout, strict: os.Getenv("CI") == "true", output: map[string]*strings.Builder{}}
	if err := run(r, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}

func run(r *report, args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("go cannot be started: %w; is it in PATH?", err)
	}
	r.read(stdout)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		r.failed = true
		return nil
	}
	return err
}

// read takes events until the stream ends. A line that is no event is shown as it is.
func (r *report) read(stream io.Reader) {
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if len(line) > 0 && json.Unmarshal(line, &e) == nil && e.Action != "" {
			r.take(e)
		} else {
			fmt.Fprintf(r.out, "%s", line)
		}
		if err != nil {
			return
		}
	}
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "output":
		b := r.output[key]
		if b == nil {
			b = &strings.Builder{}
			r.output[key] = b
		}
		b.WriteString(e.Output)
	case "fail", "pass", "skip":
		r.ended(e, key)
		delete(r.output, key)
	}
}

// ended reports the end of a test, or of a package when there is no test in the event.
func (r *report) ended(e event, key string) {
	text := ""
	if b := r.output[key]; b != nil {
		text = b.String()
	}
	switch {
	case e.Action == "fail":
		r.failed = true
		fmt.Fprint(r.out, text)
		if e.Test == "" {
			fmt.Fprintf(r.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
		}
	case e.Test == "" && e.Action == "pass":
		fmt.Fprintf(r.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
	case e.Test != "" && e.Action == "pass":
		r.passed++
	case e.Test != "":
		r.skip(e, text)
	}
}

func (r *report) skip(e event, text string) {
	var reason []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			reason = append(reason, line)
		}
	}
	r.skipped = append(r.skipped, fmt.Sprintf("%s %s: %s", e.Package, e.Test, strings.Join(reason, " ")))
}

// finish says what was left out and whether the run counts as passed.
func (r *report) finish() bool {
	fmt.Fprintf(r.out, "%d tests passed, %d skipped\n", r.passed, len(r.skipped))
	for _, s := range r.skipped {
		fmt.Fprintln(r.out, "  skipped:", s)
		if r.strict && missingTool.MatchString(s) {
			fmt.Fprintln(r.out, "  FAIL: on CI every tool has to be there")
			r.failed = true
		}
	}
	return !r.failed
}
