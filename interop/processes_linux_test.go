package interop

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pairguard/pairguard/internal/proc"
)

// Marks in the environment, by which the test finds every process of a scene, also one that nobody should have started.
const (
	sceneMark  = "PG_SCENE"
	memberMark = "PG_MEMBER"
)

// look is how often the tests look at processes and events.
const look = 100 * time.Millisecond

// process is one living process of a scene. Zombies do not count, nor do shells that are about to become a member.
type process struct {
	member string
	id     proc.ID
}

// census is the last look at all processes, shared by the scenes that run at the same time.
var census struct {
	sync.Mutex
	at     time.Time
	scenes map[string][]process
}

// outdate makes the next look a fresh one: something was done that changes what there is.
func outdate() {
	census.Lock()
	defer census.Unlock()
	census.at = time.Time{}
}

// processes are those of a scene, at most half a look ago.
func processes(scene string) []process {
	census.Lock()
	defer census.Unlock()
	if time.Since(census.at) > look/2 {
		census.at = time.Now()
		census.scenes = survey()
	}
	return census.scenes[scene]
}

// known is what was found out about a process once and for all: an exec can change it no more, or nobody's exec matters.
var known = map[proc.ID]marks{}

type marks struct{ scene, member string }

// survey finds the processes with a mark. All of them lived at its end, at the same time: one that died while others were looked
// for does not count, nor does one between fork and exec, which is still a copy of who started it.
func survey() map[string][]process {
	before := map[proc.ID]marks{}
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		id, alive := identify(folder)
		if !alive {
			continue
		}
		m, ok := known[id]
		if !ok {
			m, ok = readMarks(folder)
		}
		if ok {
			before[id] = m
		}
	}
	known = before
	scenes := map[string][]process{}
	for id, m := range before {
		if m.member == "" {
			continue
		}
		if again, alive := identify("/proc/" + strconv.Itoa(id.PID)); alive && again == id {
			scenes[m.scene] = append(scenes[m.scene], process{member: m.member, id: id})
		}
	}
	return scenes
}

// forkedNotExeced is PF_FORKNOEXEC in the flags of /proc/PID/stat, field 9.
const forkedNotExeced = 0x40

// identify reads who a process is; false for one that is dead, or not yet what it is going to be.
func identify(folder string) (id proc.ID, alive bool) {
	id = ownID()
	id.PID, _ = strconv.Atoi(filepath.Base(folder))
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return id, false
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third on
	flags, _ := strconv.Atoi(fields[6])
	id.Start, _ = strconv.ParseUint(fields[19], 10, 64)
	return id, fields[0] != "Z" && fields[0] != "X" && flags&forkedNotExeced == 0
}

// ownID is what the IDs of all processes have in common.
var ownID = sync.OnceValue(func() proc.ID {
	id, err := proc.Self()
	if err != nil {
		panic(err)
	}
	return id
})

// readMarks reads a process's marks; false when they may still change. The executable is read first: what a process that is no
// shell has in its environment after that stays there, while a shell's would be those of who ran it.
func readMarks(folder string) (marks, bool) {
	exe, err := os.Readlink(folder + "/exe")
	if err != nil {
		return marks{}, errors.Is(err, fs.ErrNotExist) // a thread of the kernel
	}
	environ, err := os.ReadFile(folder + "/environ")
	if err != nil {
		return marks{}, errors.Is(err, fs.ErrPermission)
	}
	if len(environ) == 0 {
		return marks{}, false // in the middle of an exec the kernel shows none
	}
	m := marks{scene: variable(environ, sceneMark), member: variable(environ, memberMark)}
	return m, !isShell(exe) || m.scene == ""
}

func isShell(exe string) bool {
	switch strings.TrimSuffix(filepath.Base(exe), " (deleted)") {
	case "sh", "dash", "bash", "busybox":
		return true
	}
	return false
}

// variable is the value of a variable in a process's environment.
func variable(environ []byte, name string) string {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(name+"=")); ok {
			return string(value)
		}
	}
	return ""
}
