package interop

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pairguard/pairguard"
)

// guide is what docs/qt.md shows in its five steps: files to write, and commands to type.
type guide struct {
	files    map[string]string
	commands []string
}

var (
	guideFile  = regexp.MustCompile("(?s)```(?:cpp|cmake) (\\S+)\n(.*?)\n```")
	guideBlock = regexp.MustCompile("(?s)```console\n(.*?)\n```")
)

func readGuide(t *testing.T, file string) guide {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := guide{files: map[string]string{}}
	for _, m := range guideFile.FindAllStringSubmatch(string(text), -1) {
		g.files[m[1]] = m[2] + "\n"
	}
	for _, m := range guideBlock.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(m[1]) {
			if command, ok := strings.CutPrefix(strings.TrimSpace(line), "$ "); ok {
				g.commands = append(g.commands, command)
			}
		}
	}
	return g
}

// TestQtGuide does what docs/qt.md says, word for word in one shell that begins in an empty folder, with Qt 6 and with Qt 5.
func TestQtGuide(t *testing.T) {
	t.Parallel()
	g := readGuide(t, "../docs/qt.md")
	for _, major := range []string{"6", "5"} {
		t.Run("Qt"+major, func(t *testing.T) {
			t.Parallel()
			need(t, "cmake", "g++", "bash", "pidof")
			needQt(t, major)
			afterBuilds(t)
			walk(t, g, major)
		})
	}
}

func walk(t *testing.T, g guide, major string) {
	s := newScene(t)
	shell := s.shell()
	for _, command := range g.commands {
		switch {
		case strings.HasPrefix(command, "git clone "): // what would be cloned is here
			s.must(os.Symlink(here(t, ".."), filepath.Join(s.root, "pairguard")))
			continue
		case strings.HasPrefix(command, "sed "): // the files are written before they are used
			for name, text := range g.files {
				// Somebody with one version of Qt has that one; here may be both.
				text = strings.Replace(text, "Qt6 Qt5", "Qt"+major, 1)
				s.must(os.WriteFile(filepath.Join(s.root, "pair", name), []byte(text), 0o600))
			}
		case strings.HasPrefix(command, "kill "):
			s.told("procB", pairguard.PeerUp) // a person would see that in the status
			s.told("procA", pairguard.PeerUp)
			s.act()
		case command == "pairguard events":
			s.told("procA", pairguard.PeerUp)
		}
		out, code := shell.run(command)
		t.Logf("$ %s\n%s", command, out)
		if code != "0" && !strings.HasPrefix(command, "sleep ") { // a slow machine may need longer than a person waits
			t.Fatalf("%s: exit code %s", command, code)
		}
		if command == "pairguard events" && !(strings.Contains(out, "peer_dead") && strings.Count(out, "peer_started") == 2) {
			t.Error("the events do not tell of the death")
		}
	}
	s.eventually("the stop has ended both", patience, func() bool { return len(processes(s.root)) == 0 })
}

// shell is a person's shell in the scene.
type shell struct {
	s     *scene
	in    io.Writer
	lines *bufio.Scanner
}

func (s *scene) shell() *shell {
	s.t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir = s.root
	cmd.Env = append(slices.Clone(s.env), memberMark+"=walk", "PATH="+filepath.Dir(build(s.t).pairguard)+":"+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	s.must(err)
	out, err := cmd.StdoutPipe()
	s.must(err)
	cmd.Stderr = cmd.Stdout
	s.must(cmd.Start())
	s.t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill() // its background jobs are ended by the scene
		cmd.Wait()
	})
	return &shell{s: s, in: in, lines: bufio.NewScanner(out)}
}

// run types a command and returns what it prints, and its exit code.
func (sh *shell) run(command string) (out, code string) {
	sh.s.t.Helper()
	const mark = "exit code of the guide's command: "
	fmt.Fprintf(sh.in, "%s\necho \"%s$?\"\n", command, mark)
	for sh.lines.Scan() {
		if code, found := strings.CutPrefix(sh.lines.Text(), mark); found {
			return out, code
		}
		out += sh.lines.Text() + "\n"
	}
	sh.s.t.Fatalf("%s: the shell has ended\n%s", command, out)
	return out, ""
}

// TestQtGuideTwins: both languages show the same code and the same commands.
func TestQtGuideTwins(t *testing.T) {
	english, chinese := readGuide(t, "../docs/qt.md"), readGuide(t, "../docs/qt.zh-CN.md")
	if len(english.files) != 2 || len(english.commands) != 11 {
		t.Errorf("docs/qt.md shows %d files and %d commands", len(english.files), len(english.commands))
	}
	for name, text := range english.files {
		if chinese.files[name] != text {
			t.Errorf("docs/qt.zh-CN.md shows another %s", name)
		}
	}
	if !slices.Equal(english.commands, chinese.commands) {
		t.Errorf("docs/qt.zh-CN.md shows other commands: %q", chinese.commands)
	}
}
