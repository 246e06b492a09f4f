package pairdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// shelfRoom is the most bytes that a record on a shelf may have: a command line
// and an environment fit.
const shelfRoom = 256 << 10

// Shelf is a folder below a Dir for records of something other than the members of
// pairs. One process writes a record at a time; any number may read. Safe for
// concurrent use.
type Shelf struct{ parent, dir *Dir }

// Shelf returns the shelf called name, a folder of mode 0700 which is made if there
// is none. The error says what is in its place.
func (d *Dir) Shelf(name string) (*Shelf, error) {
	s := &Shelf{parent: d, dir: &Dir{path: filepath.Join(d.path, name), disk: d.disk}}
	return s, s.ensure()
}

func (s *Shelf) ensure() error {
	if _, err := s.parent.ensure(); err != nil {
		return err
	}
	_, err := s.dir.ensure()
	return err
}

// Path returns where the file of name with the given ending is.
func (s *Shelf) Path(name, ext string) string {
	return filepath.Join(s.dir.path, fileKey(name)+ext)
}

// Store puts the record v of name in place in one step; after an error the old one
// is as it was. lasting: it is on the disk when Store returns; otherwise it outlives
// every process, but perhaps not a power failure. A removed folder is made again. A v
// of type json.RawMessage is stored as it is, and must be an object.
func (s *Shelf) Store(name, ext string, v any, lasting bool) error {
	path := s.Path(name, ext)
	b, err := encodeSummed(v, shelfRoom)
	if err != nil {
		return fmt.Errorf("record %s: %w; the old one is kept", path, err)
	}
	err = s.put(path, b, durability(lasting))
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.ensure(); err != nil {
			return err
		}
		err = s.put(path, b, durability(lasting))
	}
	if err != nil {
		return fmt.Errorf("record %s: cannot be stored: %w; the old one is kept; make room on the disk or mend the folder", path, err)
	}
	return nil
}

func (s *Shelf) put(path string, b []byte, need durability) error {
	if need == tillReboot && s.dir.storeSpare(path, b) == nil {
		return nil
	}
	return s.dir.storeFresh(path, b, need)
}

// Load reads the record of name into v, a pointer, which check judges afterwards.
// A damaged one is a *DamagedError, set aside, and found is false.
func (s *Shelf) Load(name, ext string, v any, check func() error) (found bool, err error) {
	return load(s.Path(name, ext), shelfRoom, func(b []byte) error {
		if err := checkSum(b); err != nil {
			return err
		}
		return parseRecord(b, v, check)
	})
}

// Remove takes a record away; a missing one is success.
func (s *Shelf) Remove(name, ext string) error {
	path := s.Path(name, ext)
	_ = os.Remove(sparePath(path))
	return s.dir.remove(path)
}

// Names returns whose records with the given ending are there, sorted.
func (s *Shelf) Names(ext string) ([]string, error) {
	entries, err := os.ReadDir(s.dir.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w; make it readable", s.dir.path, err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ext); ok && checkOrdinary(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// CheckOrdinary returns nil when s is an ordinary name (see [Dir.Name]), which no
// system treats specially as a file.
func CheckOrdinary(s string) error { return checkOrdinary(s) }
