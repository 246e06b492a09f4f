package proc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Relies on proc(5): /proc/PID/environ, the environment as it was given at the
// exec, for those who may trace the process. Programs that write their state into
// their title (nginx, PostgreSQL, Redis) overwrite it there. In the middle of an
// exec it is empty, and fields 50 and 51 of /proc/PID/stat, where it begins and
// ends, are 0; they are equal and not 0 in a process that was given none.

const (
	// execPatience is how long an exec may take that is under way while we look.
	execPatience = 2 * time.Second
	execPause    = time.Millisecond
)

// FindMarked returns the processes of this user that were executed with
// VARIABLE=TOKEN in their environment, and their descendants that kept it, oldest
// first. The caller closes them. A process in the middle of its exec is waited for,
// up to two seconds; one that has not begun it, still being its parent's image, is
// not found: see AwaitBirths. A program that has overwritten its environment is not
// found either: see FindWriters and Children.
//
// It looks at every process of the machine, so it is for rare occasions.
func FindMarked(variable, token string) ([]*Handle, error) {
	return findProcesses(func(pid int) (bool, error) {
		value, err := markOf(pid, variable)
		return err == nil && value == token, err
	})
}

// FindAllMarked returns all processes that FindMarked would for a token that begins
// with prefix, by their tokens.
func FindAllMarked(variable, prefix string) (map[string][]*Handle, error) {
	tokens := map[int]string{}
	all, err := findProcesses(func(pid int) (bool, error) {
		value, err := markOf(pid, variable)
		tokens[pid] = value
		return err == nil && value != "" && strings.HasPrefix(value, prefix), err
	})
	if err != nil {
		return nil, err
	}
	marked := map[string][]*Handle{}
	for _, h := range all {
		token := tokens[h.PID()]
		marked[token] = append(marked[token], h)
	}
	return marked, nil
}

// markOf is the value of a variable in the environment of a process; empty: it has
// none.
func markOf(pid int, variable string) (string, error) {
	for deadline := time.Now().Add(execPatience); ; time.Sleep(execPause) {
		env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
		if err != nil {
			return "", err
		}
		if len(env) > 0 {
			return entryOf(env, variable+"="), nil
		}
		if hasNoEnvironment(pid) || time.Now().After(deadline) {
			return "", nil
		}
	}
}

// entryOf is what follows key in the entry that begins with it.
func entryOf(env []byte, key string) string {
	for e := range bytes.SplitSeq(env, []byte{0}) {
		if value, ok := bytes.CutPrefix(e, []byte(key)); ok {
			return string(value)
		}
	}
	return ""
}

// hasNoEnvironment tells a process whose environment is empty for good from one whose
// environment could not be read because it was in the middle of an exec, even if it
// is through by now.
func hasNoEnvironment(pid int) bool {
	fields, err := statFields(pid)
	if err != nil || len(fields) < 51 {
		return true
	}
	const kernelThread = 0x200000 // PF_KTHREAD
	state, flags, begin, end := fields[3-1], fields[9-1], fields[50-1], fields[51-1]
	kind, err := strconv.ParseUint(flags, 10, 64)
	if err != nil || kind&kernelThread != 0 || state == "Z" || state == "X" {
		return true
	}
	return begin != "0" && begin == end
}

// FindWriters returns the processes of this user that have the file (a named pipe,
// say) open for reading and writing, oldest first, except this one. The caller
// closes them. It is for the same rare occasions.
func FindWriters(f *os.File) ([]*Handle, error) {
	var wanted unix.Stat_t
	err := withFd(f, func(fd uintptr) error { return unix.Fstat(int(fd), &wanted) })
	if err != nil {
		return nil, fmt.Errorf("cannot tell which file %s is: %w", f.Name(), err)
	}
	return findProcesses(func(pid int) (bool, error) {
		if pid == os.Getpid() {
			return false, nil
		}
		folder := "/proc/" + strconv.Itoa(pid)
		entries, err := os.ReadDir(folder + "/fd")
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			var st unix.Stat_t
			if unix.Stat(folder+"/fd/"+e.Name(), &st) != nil || st.Dev != wanted.Dev || st.Ino != wanted.Ino {
				continue
			}
			if opensBothWays(folder + "/fdinfo/" + e.Name()) {
				return true, nil
			}
		}
		return false, nil
	})
}

func opensBothWays(fdinfo string) bool {
	var buf [512]byte
	info, err := readShort(fdinfo, buf[:])
	if err != nil {
		return false
	}
	flags, err := strconv.ParseUint(string(bytes.TrimSpace(statusField(info, "flags:"))), 8, 64)
	return err == nil && flags&unix.O_ACCMODE == unix.O_RDWR
}

// findProcesses returns handles on the processes that fit, oldest first. What may
// not be looked at, being another user's or more privileged, does not fit.
func findProcesses(fits func(pid int) (bool, error)) ([]*Handle, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot look for processes: %w", err)
	}
	var found []*Handle
	give := func(err error) ([]*Handle, error) {
		for _, h := range found {
			h.Close()
		}
		return nil, err
	}
	user := uint32(os.Geteuid())
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Stat("/proc/"+e.Name(), &st) != nil || st.Uid != user {
			continue
		}
		h, err := openFitting(pid, fits)
		if err != nil {
			return give(err)
		}
		if h != nil {
			found = append(found, h)
		}
	}
	slices.SortFunc(found, func(a, b *Handle) int {
		return cmp.Or(cmp.Compare(a.id.Start, b.id.Start), cmp.Compare(a.id.PID, b.id.PID))
	})
	return found, nil
}

// openFitting returns a handle on the process if it fits; neither if it does not.
func openFitting(pid int, fits func(pid int) (bool, error)) (*Handle, error) {
	if ok, err := fits(pid); err != nil || !ok {
		return nil, unlessOutOfReach(err)
	}
	h, err := Open(pid)
	if err != nil {
		return nil, unlessOutOfReach(err)
	}
	// The number may have passed on between looking and opening.
	if ok, err := fits(pid); err != nil || !ok || h.isDone() {
		h.Close()
		return nil, unlessOutOfReach(err)
	}
	return h, nil
}

// unlessOutOfReach forgets the errors that say that the process is not to be looked at,
// or gone. Others, above all too many open files, could hide one that fits.
func unlessOutOfReach(err error) error {
	for _, harmless := range []error{ErrGone, unix.ENOENT, unix.ESRCH, unix.EACCES, unix.EPERM} {
		if errors.Is(err, harmless) {
			return nil
		}
	}
	return err
}

// LeadsSession reports whether the process is the leader of its session, as what
// Start starts is. ErrGone when it is dead.
func (h *Handle) LeadsSession() (bool, error) {
	fields, err := statFields(h.id.PID)
	if err != nil {
		return false, err
	}
	if len(fields) < 22 || h.isDone() || fields[22-1] != strconv.FormatUint(h.id.Start, 10) {
		return false, fmt.Errorf("%v: %w", h.id, ErrGone)
	}
	return fields[6-1] == strconv.Itoa(h.id.PID), nil
}

// statFields returns the fields of /proc/PID/stat, the first one at 0.
func statFields(pid int) ([]string, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, statError("/proc/"+strconv.Itoa(pid)+"/stat", errors.Unwrap(err))
	}
	end := bytes.LastIndexByte(b, ')')
	if end < 0 {
		return nil, fmt.Errorf("cannot understand /proc/%d/stat: %q", pid, b)
	}
	return append([]string{strconv.Itoa(pid), ""}, strings.Fields(string(b[end+1:]))...), nil
}
