package wire

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

const specification = "../../docs/protocol.md"

// fencedLines returns the lines of all fenced blocks of the specification with that word after the fence.
func fencedLines(t *testing.T, word string) (lines []string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(string(readFile(t, specification))) {
		line = strings.TrimRight(line, "\r\n") // a checkout on Windows may have added CRs
		switch {
		case inside && line == "```":
			inside = false
		case inside:
			lines = append(lines, line)
		case line == "```"+word:
			inside = true
		}
	}
	if len(lines) == 0 {
		t.Fatalf("%s has no ```%s block", specification, word)
	}
	return lines
}

// vectorLines maps the line of each vector, without LF, to its file.
func vectorLines(t *testing.T, kind string) map[string]string {
	t.Helper()
	lines := map[string]string{}
	for _, path := range vectorFiles(t, kind) {
		lines[strings.TrimSuffix(string(readFile(t, path)), "\n")] = path
	}
	return lines
}

// TestSpecificationExamples: every example parses and is written again byte for byte, and is a vector.
func TestSpecificationExamples(t *testing.T) {
	vectors := vectorLines(t, "good")
	shown := map[string]bool{}
	for _, line := range fencedLines(t, "wire") {
		shown[line] = true
		if vectors[line] == "" {
			t.Errorf("%s: no vector is %q", specification, line)
		}
		wantWrittenAgain(t, line)
	}
	for line, path := range vectors {
		m, canonical := readMessage(t, strings.TrimSuffix(path, ".wire")+".json")
		if _, unknown := m.(Unknown); canonical && !unknown && !shown[line] && !spoken(t)[line] {
			t.Errorf("%s does not show the vector %s", specification, filepath.Base(path))
		}
	}
}

func TestSpecificationDialogue(t *testing.T) {
	for line := range spoken(t) {
		wantWrittenAgain(t, line)
	}
}

// spoken are the lines of the dialogue, without "A: ".
func spoken(t *testing.T) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	for _, line := range fencedLines(t, "wire-dialogue") {
		who, said, ok := strings.Cut(line, ": ")
		if !ok || who != "A" && who != "B" {
			t.Fatalf("%s: dialogue line %q begins with neither A nor B", specification, line)
		}
		lines[said] = true
	}
	return lines
}

func wantWrittenAgain(t *testing.T, line string) {
	t.Helper()
	m, err := Parse([]byte(line))
	if err != nil {
		t.Errorf("%s: %q: %v", specification, line, err)
		return
	}
	if _, unknown := m.(Unknown); unknown {
		t.Errorf("%s: %q is an unknown word", specification, line)
	}
	if again := Append(nil, m); !bytes.Equal(again, []byte(line+"\n")) {
		t.Errorf("%s: %q is written again as %q", specification, line, again)
	}
}

// TestSpecificationAcceptedAndBad: the examples that are only accepted, and those that are not, are vectors too.
func TestSpecificationAcceptedAndBad(t *testing.T) {
	good, bad := vectorLines(t, "good"), vectorLines(t, "bad")
	for _, line := range fencedLines(t, "wire-accepted") {
		if good[line] == "" {
			t.Errorf("%s: no good vector is %q", specification, line)
		}
	}
	for _, line := range fencedLines(t, "wire-bad") {
		if bad[line] == "" {
			t.Errorf("%s: no bad vector is %q", specification, line)
		}
	}
	for _, line := range fencedLines(t, "wire-plain") {
		if ours, decided := LooksLikeOurs([]byte(line)); ours || !decided {
			t.Errorf("%s: %q is not taken for a plain peer", specification, line)
		}
	}
}
