package pairdir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// recordVersion stands in every record; another one cannot be read.
const recordVersion = 1

// recordRoom is the most bytes a record may have, and the size of a reserve.
const recordRoom = 4096

// maxReason bounds a reason, in bytes, so that any record fits recordRoom even
// when JSON escapes every byte of it into six.
const maxReason = 400

// DamagedError reports a record that could not be read. The file was set aside,
// and the caller goes on as if there had been none.
type DamagedError struct {
	Path  string // the record
	Moved string // where it is now; empty when it could not be moved
	Err   error  // what is wrong with it
}

// Error says what is wrong and what was done.
func (e *DamagedError) Error() string {
	done := "and could not be set aside; remove it"
	if e.Moved != "" {
		done = "set aside as " + filepath.Base(e.Moved) + ", going on without it"
	}
	return fmt.Sprintf("record %s: damaged (%v); %s", e.Path, e.Err, done)
}

// Unwrap returns what is wrong with the record.
func (e *DamagedError) Unwrap() error { return e.Err }

// header is what all records begin with.
type header struct {
	Version int `json:"version"`
}

// parseRecord decodes b into v, a pointer to a record, and lets check judge it.
func parseRecord(b []byte, v any, check func() error) error {
	b = bytes.TrimRight(b, "\n ")
	if len(b) == 0 {
		return errors.New("it is empty")
	}
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	if h.Version != recordVersion {
		return fmt.Errorf("version is %d, this program reads %d", h.Version, recordVersion)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	return check()
}

// encodeRecord gives v, a record without version, its version; it may have room
// bytes.
func encodeRecord(v any, room int) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return assemble(fmt.Appendf(nil, `{"version":%d,`, recordVersion), body, room)
}

// assemble is the record of a header without its end and a body.
func assemble(header, body []byte, room int) ([]byte, error) {
	b := append(header, body[1:]...)
	b = append(b, '\n')
	if len(b) > room {
		return nil, fmt.Errorf("has %d bytes, at most %d are allowed", len(b), room)
	}
	return b, nil
}

// summed is how a record with a sum of its body begins.
var summed = fmt.Sprintf(`{"version":%d,"crc32":"`, recordVersion)

// encodeSummed is encodeRecord for a record whose file is written again: whoever
// reads it meanwhile has to notice.
func encodeSummed(v any, room int) ([]byte, error) {
	body, encoded := v.(json.RawMessage)
	if !encoded {
		var err error
		if body, err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return assemble(fmt.Appendf(nil, summed+`%08x",`, crc32.ChecksumIEEE(body)), body, room)
}

// errTorn: a record is not what was written in one piece.
var errTorn = errors.New("its sum is wrong: it was not written in one piece, or was changed by hand")

// checkSum judges a record with a sum; one without is as it is.
func checkSum(b []byte) error {
	rest, found := bytes.CutPrefix(bytes.TrimRight(b, "\n "), []byte(summed))
	if !found {
		return nil
	}
	sum, body, found := bytes.Cut(rest, []byte(`",`))
	if !found || string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(append([]byte{'{'}, body...))) {
		return errTorn
	}
	return nil
}

// readFile returns the bytes of a record and the file they came from. Anything
// but a regular file of at most room bytes is damage, and is never waited for.
func readFile(path string, room int) ([]byte, fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, &damage{errors.New("it is not a regular file")}
	}
	f, err := openShared(path)
	if err != nil {
		return nil, info, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, info, err
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(room)+1))
	if err != nil {
		return nil, info, err
	}
	if len(b) > room {
		return nil, info, &damage{fmt.Errorf("it is longer than %d bytes", room)}
	}
	return b, info, nil
}

// damage marks an error of the content, as opposed to one of reading it.
type damage struct{ error }

func (d *damage) Unwrap() error { return d.error }

// load reads the record at path with parse. A missing one is found == false; a
// damaged one is set aside and reported as *DamagedError.
func (d *Dir) load(path string, parse func([]byte) error) (found bool, err error) {
	return load(path, recordRoom, parse)
}

// rereads is how often a torn record is read: a writer may be at it.
const rereads = 5

func load(path string, room int, parse func([]byte) error) (found bool, err error) {
	var info fs.FileInfo
	for range rereads {
		var b []byte
		if b, info, err = readFile(path, room); err == nil {
			if err = parse(b); err != nil {
				err = &damage{err}
			}
		}
		if !errors.Is(err, errTorn) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	var bad *damage
	switch damaged := errors.As(err, &bad); {
	case err == nil:
		return true, nil
	case !damaged && errors.Is(err, fs.ErrNotExist):
		return false, nil
	case !damaged:
		return false, fmt.Errorf("record %s: %w; make it readable or remove it", path, err)
	}
	err = bad.error
	return false, &DamagedError{Path: path, Moved: setAside(path, info), Err: err}
}

// setAside renames a damaged record and returns its new path. A writer may have
// renamed a good one into its place meanwhile; that one is put back, unless yet
// another is there already.
func setAside(path string, read fs.FileInfo) string {
	if now, err := os.Lstat(path); err != nil || !os.SameFile(now, read) {
		return ""
	}
	aside := path + ".damaged"
	_ = os.Remove(aside) // a folder is not replaced by a rename
	if err := renameFile(path, aside); err != nil {
		return ""
	}
	if moved, err := os.Lstat(aside); err == nil && !os.SameFile(moved, read) {
		_ = os.Link(aside, path)
		_ = os.Remove(aside)
		return ""
	}
	return aside
}
