// Package interop is tests alone: pairs of real programs of which at least one is not written in Go. The programs lie in
// interop/qt (a Qt program with all the faults of the published class) and in clients.
package interop

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// built are the programs that the tests run, in a temporary folder.
type built struct {
	folder    string
	pairguard string
	err       error
}

var programs struct {
	once sync.Once
	built
}

func TestMain(m *testing.M) {
	if control := os.Getenv(puppetVariable); control != "" {
		os.Exit(playPuppet(control))
	}
	flag.Parse()
	flag.Set("test.parallel", "500") // these tests wait, nearly all of the time
	code := m.Run()
	if programs.folder != "" {
		os.RemoveAll(programs.folder)
	}
	os.Exit(code)
}

// build makes the pairguard command, once.
func build(t *testing.T) *built {
	t.Helper()
	programs.once.Do(func() {
		b := &programs.built
		if b.folder, b.err = os.MkdirTemp("", "pg"); b.err != nil {
			return
		}
		b.pairguard = filepath.Join(b.folder, "pairguard")
		b.err = do("go", "build", "-o", b.pairguard, "../cmd/pairguard")
	})
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return &programs.built
}

// here makes a path below this folder absolute.
func here(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// do runs a command that has to succeed.
func do(command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, out)
	}
	return nil
}

// need skips the test when a tool is missing; on continuous integration that is a failure (scripts/testreport).
func need(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("missing tool: %s", tool)
		}
	}
}

// cmakeBuild is one folder with a CMakeLists.txt. Each program is built when it is first needed, so that a test of 90 s need not
// wait for those that others need.
type cmakeBuild struct {
	source string
	major  string // version of Qt

	mu     sync.Mutex // guards what follows
	folder string
	done   map[string]error // by program
}

var (
	qtBuild    = cmakeBuild{source: "qt", major: "6"}
	qt5Build   = cmakeBuild{source: "qt", major: "5"}
	twinsBuild = cmakeBuild{source: "../clients/qt/example", major: "6"}
)

// program returns the path of one of the folder's programs.
func (c *cmakeBuild) program(t *testing.T, name string) string {
	t.Helper()
	need(t, "cmake", "g++")
	needQt(t, c.major)
	b := build(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	err, tried := c.done[name]
	if !tried {
		err = c.build(b, name)
		if c.done == nil {
			c.done = map[string]error{}
		}
		c.done[name] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(c.folder, name)
}

// afterBuilds waits until the programs are built that tests of 90 s wait for, so that what is built here does not delay those.
func afterBuilds(t *testing.T) {
	t.Helper()
	for _, name := range []string{"qtplain", "qtmember"} {
		qtBuild.program(t, name)
	}
	qt5Build.program(t, "qtmember")
}

func (c *cmakeBuild) build(b *built, name string) error {
	if c.folder == "" {
		folder, err := os.MkdirTemp(b.folder, "cmake")
		if err != nil {
			return err
		}
		if err := do("nice", "cmake", "-S", c.source, "-B", folder, "-DPAIRGUARD_QT="+c.major); err != nil {
			return err
		}
		c.folder = folder
	}
	return do("nice", "cmake", "--build", c.folder, "--target", name, "--parallel", "2")
}

// needQt skips the test when that version of Qt cannot be built with.
func needQt(t *testing.T, major string) {
	t.Helper()
	if err := exec.Command("cmake", "--find-package", "-DNAME=Qt"+major, "-DCOMPILER_ID=GNU", "-DLANGUAGE=CXX", "-DMODE=EXIST").Run(); err == nil {
		return
	}
	found, _ := filepath.Glob("/usr/lib/*/cmake/Qt" + major + "/Qt" + major + "Config.cmake")
	more, _ := filepath.Glob("/usr/lib*/cmake/Qt" + major + "/Qt" + major + "Config.cmake")
	if len(found)+len(more) == 0 {
		t.Skipf("missing tool: Qt %s to build with (Debian: %s)", major, map[string]string{"6": "qt6-base-dev", "5": "qtbase5-dev"}[major])
	}
}
