package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/pairguard/pairguard/internal/control"
)

// maxFile is the largest file, in bytes.
const maxFile = 1 << 20

// Error says where a file is wrong, and what would be right.
type Error struct {
	Path string
	Line int // from 1
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Text) }

// Program is one program of a file.
type Program struct {
	control.Definition
	// Temporary: its executable lies in a temporary folder and may be gone at the next start.
	Temporary bool
}

// Read returns the programs of the file at path, in its order. Relative paths in it
// are below its folder. Errors about its content are an *Error. logs is the folder for
// the relative paths of logs.
func Read(path, logs string) ([]Program, error) {
	text, err := contents(path)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: give an absolute path", path, err)
	}
	programs, err := parse(text, place{home: filepath.Dir(abs), logs: logs})
	var bad *Error
	if errors.As(err, &bad) {
		bad.Path = path
	}
	return programs, err
}

// place is what relative paths of a file are relative to.
type place struct{ home, logs string }

func contents(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("file %s: there is none: write it, or name another with -f", path)
	}
	if err != nil {
		return nil, fmt.Errorf("file %w: name another with -f", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("file %w: name another with -f", err)
	case len(text) > maxFile:
		return nil, fmt.Errorf("file %s: has more than %d bytes: split it into several folders", path, maxFile)
	}
	return text, nil
}

func parse(text []byte, where place) ([]Program, error) {
	if i := bytes.IndexByte(text, 0); i >= 0 || !utf8.Valid(text) {
		return nil, &Error{Line: 1, Text: "it is not a text in UTF-8"}
	}
	root, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	top, err := root.table()
	if err != nil {
		return nil, err
	}
	var programs []Program
	found := false
	for _, e := range top {
		if e.key != "programs" {
			return nil, e.at.wrong("unknown key %s: the file has one key, programs, and below it the names", e.key)
		}
		found = true
		if programs, err = readPrograms(e.value, where); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, root.wrong("there is no key programs: write 'programs:', and below it the names")
	}
	return programs, nil
}

func readPrograms(n node, where place) ([]Program, error) {
	table, err := n.table()
	if err != nil {
		return nil, err
	}
	var programs []Program
	logs := map[string]string{}
	for _, e := range table {
		p, err := readProgram(e, where)
		if err != nil {
			return nil, err
		}
		if other, taken := logs[p.Log.File]; taken && p.Log.File != "" {
			return nil, e.at.wrong("the log of %s is that of %s: give each its own", e.key, other)
		}
		logs[p.Log.File] = e.key
		programs = append(programs, p)
	}
	return programs, nil
}
