package interop

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pairguard/pairguard"
)

var guideFile = regexp.MustCompile("(?s)```(?:cpp|cmake) (\\S+)\n(.*?)\n```")

// guideFiles are the files that a guide shows.
func guideFiles(t *testing.T, guide string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range guideFile.FindAllStringSubmatch(string(text), -1) {
		files[m[1]] = m[2] + "\n"
	}
	return files
}

// TestQtGuide does what docs/qt.md says, as somebody would who has only that page and the two files.
func TestQtGuide(t *testing.T) {
	t.Parallel()
	need(t, "cmake", "g++")
	needQt(t, "6")
	files := guideFiles(t, "../docs/qt.md")
	s := newScene(t)
	source, out := filepath.Join(s.root, "s"), filepath.Join(s.root, "b")
	if err := os.Mkdir(source, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"GuardianService.h", "GuardianService.cpp"} {
		text, err := os.ReadFile("../clients/qt/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	// "The same with the two names exchanged."
	files["procB.cpp"] = strings.NewReplacer("procA", "procB", "procB", "procA").Replace(files["procA.cpp"])
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{{"nice", "cmake", "-S", source, "-B", out}, {"nice", "cmake", "--build", out}} {
		if err := do(command...); err != nil {
			t.Fatal(err)
		}
	}
	s.play("procA", filepath.Join(out, "procA"))
	s.start("procA")
	s.told("procA", pairguard.PeerUp)
	s.told("procB", pairguard.PeerUp)
	s.act()
	for _, p := range processes(s.root) { // both bear the mark of the one that was started
		if p.id.PID == s.status("procB").PID {
			s.signal(p.id, syscall.SIGKILL)
		}
	}
	s.told("procA", pairguard.PeerStarted)
	s.told("procB", pairguard.PeerUp)
	s.stopped()
}

// TestQtGuideTwins: both languages show the same code.
func TestQtGuideTwins(t *testing.T) {
	english, chinese := guideFiles(t, "../docs/qt.md"), guideFiles(t, "../docs/qt.zh-CN.md")
	if len(english) != 2 {
		t.Errorf("docs/qt.md shows %d files", len(english))
	}
	for name, text := range english {
		if chinese[name] != text {
			t.Errorf("docs/qt.zh-CN.md shows another %s", name)
		}
	}
}
