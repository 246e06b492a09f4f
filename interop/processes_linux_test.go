package interop

import (
	"bytes"
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

// survey finds the processes with a mark. All of them lived at its end, at the same time: one that died while others were looked
// for does not count.
func survey() map[string][]process {
	scenes := map[string][]process{}
	var found []*proc.Handle
	var marks []process
	var where []string
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		environ, err := os.ReadFile(filepath.Join(folder, "environ"))
		if err != nil || !bytes.Contains(environ, []byte(sceneMark+"=")) {
			continue
		}
		exe, err := os.Readlink(filepath.Join(folder, "exe"))
		if err != nil || isShell(exe) || variable(environ, memberMark) == "" { // no mark: a command that the test runs
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(folder))
		if h, err := proc.Open(pid); err == nil {
			found = append(found, h)
			marks = append(marks, process{member: variable(environ, memberMark), id: h.ID()})
			where = append(where, variable(environ, sceneMark))
		}
	}
	for i, h := range found {
		select {
		case <-h.Done():
		default:
			scenes[where[i]] = append(scenes[where[i]], marks[i])
		}
		h.Close()
	}
	return scenes
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
