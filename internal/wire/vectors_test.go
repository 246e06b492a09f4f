package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The vectors are for every implementation, in any language: good/NAME.wire is one line byte for byte, good/NAME.json what it
// means; bad/NAME.wire is refused with the error in bad/NAME.txt.

var messageTypes = map[string]Message{
	"HELLO": Hello{}, "BEAT": Beat{}, "BYE": Bye{}, "LOOK": Look{}, "STATUS": Status{}, "REFUSED": Refused{}, "UNKNOWN": Unknown{},
}

func vectorFiles(t *testing.T, kind string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "vectors", kind, "*.wire"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s vectors found: %v", kind, err)
	}
	return files
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readMessage reads NAME.json: {"word": ..., "canonical": ..., "message": {...}}. The line of a canonical vector is exactly what Append
// writes; the others are accepted but nobody writes them so.
func readMessage(t *testing.T, path string) (m Message, canonical bool) {
	t.Helper()
	var file struct {
		Word      string
		Canonical bool
		Message   json.RawMessage
	}
	if err := json.Unmarshal(readFile(t, path), &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	zero, known := messageTypes[file.Word]
	if !known {
		t.Fatalf("%s: word %q is none of the messages", path, file.Word)
	}
	p := reflect.New(reflect.TypeOf(zero))
	dec := json.NewDecoder(bytes.NewReader(file.Message))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p.Interface()); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return p.Elem().Interface().(Message), file.Canonical
}

func TestGoodVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range vectorFiles(t, "good") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".wire"), func(t *testing.T) {
			line := readFile(t, path)
			want, canonical := readMessage(t, strings.TrimSuffix(path, ".wire")+".json")
			body, whole := bytes.CutSuffix(line, []byte("\n"))
			if !whole || bytes.ContainsRune(body, '\n') {
				t.Fatalf("%s is not exactly one line", path)
			}
			got, err := Parse(body)
			if err != nil || got != want {
				t.Fatalf("Parse(%q)\n got %#v, %v\nwant %#v", body, got, err, want)
			}
			if canonical {
				if again := Append(nil, want); !bytes.Equal(again, line) {
					t.Errorf("Append writes %q, the vector says %q", again, line)
				}
			}
			seen[fmt.Sprintf("%T", want)] = true
		})
	}
	for word, m := range messageTypes {
		if !seen[fmt.Sprintf("%T", m)] {
			t.Errorf("no good vector for %s", word)
		}
	}
}

func TestBadVectors(t *testing.T) {
	for _, path := range vectorFiles(t, "bad") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".wire"), func(t *testing.T) {
			want := strings.TrimSpace(string(readFile(t, strings.TrimSuffix(path, ".wire")+".txt")))
			var s Scanner
			s.Feed(readFile(t, path))
			m, ok, err := s.Next()
			if ok || err == nil || err.Error() != want {
				t.Fatalf("got %#v, %v, error %v\nwant error %s", m, ok, err, want)
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLong) {
				t.Errorf("error %v wraps none of the sentinels", err)
			}
		})
	}
}

// seeds are all vectors, good and bad.
func seeds(f *testing.F) (lines [][]byte) {
	paths, _ := filepath.Glob(filepath.Join("testdata", "vectors", "*", "*.wire"))
	for _, path := range paths {
		line, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}
