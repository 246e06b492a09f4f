package output

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Relies on: rename is atomic, so a file of a rotation is seen at its old name or at
// its new one; statx tells when a file was made (ext4, xfs, btrfs, overlay; tmpfs since 6.9 or so, elsewhere 0).

// identity tells files apart, also two that had the same inode one after the other.
type identity struct {
	device, inode uint64
	born          int64
}

func (i identity) position() Position {
	return Position{Device: i.device, Inode: i.inode, Born: i.born}
}

func identityOf(p Position) identity { return identity{p.Device, p.Inode, p.Born} }

// member is one file of a log and those it was before.
type member struct {
	id   identity
	size int64
	name string
}

// identify looks at what is at a path. What is not a regular file is not there.
func identify(path string) (member, error) {
	return identifyAt(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
}

func identifyAt(fd int, path string, flags int) (member, error) {
	var st unix.Statx_t
	_, err := retry(func() (struct{}, error) {
		return struct{}{}, unix.Statx(fd, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	})
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ENOENT
	}
	if err != nil {
		return member{}, &os.PathError{Op: "read log", Path: path, Err: err}
	}
	m := member{size: int64(st.Size), name: path}
	m.id = identity{device: uint64(st.Dev_major)<<32 | uint64(st.Dev_minor), inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		m.id.born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return m, nil
}

// family is the log and its older files, youngest first, each once. Rotations may go on meanwhile: a file only ever moves to a higher number, so
// looking from the lowest up sees each one, some of them twice; there may be gaps.
func family(path string) ([]member, error) {
	var files []member
	seen := map[identity]bool{}
	for k := 0; ; {
		highest, err := highestNumber(path)
		if err != nil {
			return nil, err
		}
		if k > highest {
			return files, nil
		}
		for ; k <= highest; k++ {
			name := path
			if k > 0 {
				name += "." + strconv.Itoa(k)
			}
			m, err := identify(name)
			switch {
			case err == nil && !seen[m.id]:
				seen[m.id] = true
				files = append(files, m)
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return nil, err
			}
		}
	}
}

// highestNumber is the number of the oldest file, 0 if there is only the log or nothing.
func highestNumber(path string) (int, error) {
	folder, err := os.Open(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return 0, err
	}
	highest, prefix := 0, filepath.Base(path)+"."
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name, prefix); ok {
			if k, err := strconv.Atoi(digits); err == nil && strconv.Itoa(k) == digits && k <= MaxKeep {
				highest = max(highest, k)
			}
		}
	}
	return highest, nil
}

// openMember opens the file with an identity wherever it is by now; nil if it is gone.
func openMember(path string, id identity) (*os.File, error) {
	files, err := family(path)
	if err != nil {
		return nil, err
	}
	for _, m := range files {
		if m.id != id {
			continue
		}
		fd, err := retry(func() (int, error) {
			return unix.Open(m.name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
		})
		if err == unix.ENOENT {
			return openMember(path, id)
		}
		if err != nil {
			return nil, &os.PathError{Op: "read log", Path: m.name, Err: err}
		}
		if opened, err := identifyAt(fd, "", unix.AT_EMPTY_PATH); err != nil || opened.id != id {
			unix.Close(fd)
			return openMember(path, id) // it moved on between looking and opening
		}
		_ = unix.SetNonblock(fd, false)
		return os.NewFile(uintptr(fd), m.name), nil
	}
	return nil, nil
}
