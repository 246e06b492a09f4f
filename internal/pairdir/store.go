package pairdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// reserves is how many records can be stored by a name on a full disk: a leave,
// a stop and one more.
const reserves = 3

// strayAge is when a half-written file is taken for one whose writer died. It
// decides about nothing but rubbish.
const strayAge = time.Minute

// durability says what a record must outlive.
type durability bool

const (
	// tillReboot: void after the next boot anyway, as it names a process. The page
	// cache outlives any death of a process, so nothing has to wait for the disk.
	tillReboot durability = false
	// onDisk: must outlive a power failure.
	onDisk durability = true
)

// store puts record v in place at path in one step. If that fails, most often
// because the disk is full, it is tried again with the space that the names in
// keys have in reserve. After an error the old record is as it was.
//
// A writer that dies in here leaves the old record, or the new one, and at most
// a stray file that tidy removes.
func (d *Dir) store(path string, v any, need durability, keys ...string) error {
	b, err := encodeRecord(v, recordRoom)
	if err != nil {
		return fmt.Errorf("record %s: %w; the old one is kept", path, err)
	}
	first := d.storeFresh(path, b, need)
	if first == nil {
		return nil
	}
	for _, key := range keys {
		for i := range reserves {
			if d.storeReserved(d.reserve(key, i), path, b, need) == nil {
				// What the new record replaced may pay for the next reserve.
				d.fillReserves(key)
				return nil
			}
		}
	}
	return fmt.Errorf("record %s: cannot be stored: %w; the old one is kept; make room on the disk or mend the folder", path, first)
}

func (d *Dir) storeFresh(path string, b []byte, need durability) error {
	f, err := os.CreateTemp(d.path, "~"+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	keepRights(f)
	return d.finish(f, path, b, need)
}

// sparePath is the file that the last store of a record has put out of place.
func sparePath(path string) string {
	return filepath.Join(filepath.Dir(path), "~"+filepath.Base(path)+".spare")
}

// storeSpare is storeFresh without a new file: making one can cost ext4 twenty times
// what all the rest does. The file of the store before is written again, and the two
// are exchanged, so whoever has opened a record before that, and reads it after this,
// can find it torn: for records with a sum alone. After an error the record is as it was.
func (d *Dir) storeSpare(path string, b []byte) error {
	spare := sparePath(path)
	f, err := openSpare(spare)
	if err != nil {
		return err
	}
	defer f.Close() // not before it is in place: nobody else may write it until then
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > shelfRoom {
		return fmt.Errorf("%s: it is longer than any record", spare)
	}
	if more := int(info.Size()) - len(b); more > 0 {
		b = append(b, bytes.Repeat([]byte{'\n'}, more)...)
	}
	if _, err := d.disk.write(f, b); err != nil {
		return err
	}
	err = d.disk.exchange(spare, path)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.disk.rename(spare, path) // the first one
	}
	return err
}

// storeReserved writes into a file whose blocks are allocated already. Whoever
// renames the reserve to a name of its own owns it. Its size stays: the rest is
// filled with newlines, as a shorter file could need a write of its own.
func (d *Dir) storeReserved(reserve, path string, b []byte, need durability) error {
	mine := strings.TrimSuffix(reserve, ".reserve") + fmt.Sprintf(".%d.%d.tmp", os.Getpid(), time.Now().UnixNano())
	if err := renameFile(reserve, mine); err != nil {
		return err
	}
	f, err := os.OpenFile(mine, os.O_WRONLY, 0)
	if err != nil {
		_ = os.Remove(mine)
		return err
	}
	padded := append(b, bytes.Repeat([]byte{'\n'}, recordRoom-len(b))...)
	return d.finish(f, path, padded, need)
}

// finish writes b to f, renames it to path and closes it; on failure f is gone.
func (d *Dir) finish(f *os.File, path string, b []byte, need durability) error {
	_, err := d.disk.write(f, b)
	if err == nil && need == onDisk {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = d.place(f.Name(), path, need)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if need == onDisk {
		// The record stands from the rename on; a folder that cannot be synced
		// weakens it against a power failure alone.
		syncFolder(d.path)
	}
	return nil
}

// place puts the file from at path in one step. Renaming over a file makes some
// file systems (ext4) write the new one out at once, which costs a revival more
// than everything else that pairguard does; exchanging the two does not.
func (d *Dir) place(from, path string, need durability) error {
	if need == tillReboot && d.disk.exchange(from, path) == nil {
		_ = os.Remove(from) // the old record
		return nil
	}
	return insist(func() error { return d.disk.rename(from, path) })
}

func (d *Dir) reserve(key string, i int) string {
	return filepath.Join(d.path, fmt.Sprintf("~%s.%d.reserve", key, i))
}

// fillReserves sets disk space aside for a name's records, as far as there is
// some. Bytes are written, not just allocated: not every file system can
// allocate, and on every one that overwrites in place this is enough.
func (d *Dir) fillReserves(key string) {
	for i := range reserves {
		path := d.reserve(key, i)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == recordRoom {
			continue
		}
		_ = d.storeFresh(path, bytes.Repeat([]byte{'\n'}, recordRoom), onDisk)
	}
}

// remove takes a record away; a missing one is success.
func (d *Dir) remove(path string) error {
	err := removeFile(path)
	if err == nil {
		syncFolder(d.path)
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("record %s: %w; remove it by hand", path, err)
}

// tidy removes half-written files whose writers died.
func (d *Dir) tidy() {
	entries, _ := os.ReadDir(d.path)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "~") || !strings.HasSuffix(e.Name(), ".tmp") {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > strayAge {
			_ = os.Remove(filepath.Join(d.path, e.Name()))
		}
	}
}
