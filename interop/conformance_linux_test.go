package interop

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// clientVariable holds the command line of a member to be tested: words separated by spaces, with {self}, {peer} and {command}
// for its three parameters. For example: PAIRGUARD_CLIENT='python3 /src/member.py {self} {peer} {command}'
const clientVariable = "PAIRGUARD_CLIENT"

func TestConformanceGo(t *testing.T) {
	conform(t, build(t).pairguard, "guard", "{self}", "{peer}", "--", "{command}")
}

func TestConformancePython(t *testing.T) {
	need(t, "python3")
	conform(t, "python3", here(t, "../clients/python/member.py"), "{self}", "{peer}", "{command}")
}

// TestConformanceOfYours tests any other member, in any language.
func TestConformanceOfYours(t *testing.T) {
	client := strings.Fields(os.Getenv(clientVariable))
	if len(client) == 0 {
		t.Skipf("%s is not set; docs/protocol.md §12 says how", clientVariable)
	}
	conform(t, client...)
}

// few requirements are tested at a time: they are many, and other tests measure times.
var few = make(chan struct{}, 12)

// conform tests every requirement, each with processes and a folder of its own.
func conform(t *testing.T, client ...string) {
	t.Parallel()
	for _, r := range requirements {
		t.Run(r.id, func(t *testing.T) {
			t.Parallel()
			few <- struct{}{}
			defer func() { <-few }()
			st := newStage(t, client)
			defer func() {
				if t.Failed() {
					t.Logf("%s requires: %s", r.section, r.text)
				}
			}()
			r.check(st)
		})
	}
}

var requirementRow = regexp.MustCompile("(?m)^\\| `([a-z]+-[0-9]+)` \\| ([^|]+) \\| ([^|]+) \\|$")

// TestRequirementsAreDocumented: the table in docs/protocol.md §12 is the list of requirements.
func TestRequirementsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, m := range requirementRow.FindAllStringSubmatch(string(text), -1) {
		rows[m[1]] = m[2] + " | " + m[3]
	}
	for _, r := range requirements {
		if want := r.section + " | " + r.text; rows[r.id] != want {
			t.Errorf("docs/protocol.md §12 says of %s %q, the test %q", r.id, rows[r.id], want)
		}
		delete(rows, r.id)
	}
	for id := range rows {
		t.Errorf("docs/protocol.md §12 has %s, which nothing tests", id)
	}
}

// exit starts nothing: it waits aside for the end of the member that start began last, and gives its exit code.
func (st *stage) exit(name string, end func()) <-chan int {
	code := make(chan int, 1)
	wait := st.waits[name]
	end()
	go func() {
		select {
		case c := <-wait:
			code <- c
		case <-time.After(patience):
			code <- -1
		}
	}()
	return code
}

// exitCode runs a member's script to its end.
func (st *stage) exitCode(name string) (int, string) {
	cmd := exec.Command(st.script(name))
	cmd.Env = st.env
	timer := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer timer.Stop()
	defer outdate()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		st.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// puppetOf starts a puppet under another mark: it is no peer, but somebody who connects.
func (st *stage) puppetOf(mark string) *puppet {
	st.t.Helper()
	text, err := os.ReadFile(st.script("B"))
	if err != nil {
		st.t.Fatal(err)
	}
	st.write(mark, strings.Replace(string(text), memberMark+"=B", memberMark+"="+mark, 1))
	st.start(mark)
	return st.birth()
}

func TestConformanceC(t *testing.T) {
	need(t, "gcc")
	member := filepath.Join(build(t).folder, "member")
	if err := do("gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", member, "../clients/c/member.c"); err != nil {
		t.Fatal(err)
	}
	conform(t, member, "{self}", "{peer}", "{command}")
}

func TestConformanceQt(t *testing.T) {
	conform(t, qtBuild.program(t, "qtmember"), "{self}", "{peer}", "{command}")
}

func TestConformanceQt5(t *testing.T) {
	conform(t, qt5Build.program(t, "qtmember"), "{self}", "{peer}", "{command}")
}
