package proc

import (
	"bufio"
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Relies on cgroups(7), freezer-subsystem.txt and cgroup-v2.rst: v1 freezer.state
// (FREEZING, FROZEN), v2 cgroup.freeze and cgroup.events, cpu.stat in both
// (nr_throttled). /proc/PID/cgroup and mountinfo are read as this process sees
// them, so that a process in another cgroup namespace can be out of sight.

// cgroupMount is where a hierarchy can be looked at.
type cgroupMount struct {
	point       string // in the file system
	root        string // the cgroup that is mounted there
	controllers []string
	unified     bool // v2
}

// cgroupMounts are found once: hierarchies are not mounted while programs run.
var cgroupMounts = sync.OnceValue(func() []cgroupMount {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var mounts []cgroupMount
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if m, ok := parseMount(lines.Text()); ok {
			mounts = append(mounts, m)
		}
	}
	return mounts
})

// parseMount understands a line of mountinfo if it is of a cgroup hierarchy.
func parseMount(line string) (m cgroupMount, ok bool) {
	left, right, found := strings.Cut(line, " - ")
	here, there := strings.Fields(left), strings.Fields(right)
	if !found || len(here) < 6 || len(there) < 3 {
		return m, false
	}
	m.root, m.point = unescapeMount(here[3]), unescapeMount(here[4])
	switch there[0] {
	case "cgroup2":
		m.unified = true
	case "cgroup":
		m.controllers = strings.Split(there[2], ",")
	default:
		return m, false
	}
	return m, true
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// readCgroups asks every cgroup around the process whether it is frozen and how
// often it was throttled.
func (x *Examination) readCgroups(pid int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		controllers, group := strings.Split(parts[1], ","), strings.TrimSuffix(parts[2], " (deleted)")
		unified := parts[0] == "0" && parts[1] == ""
		if unified || slices.Contains(controllers, "freezer") {
			walkUp(group, "freezer", unified, x.readFreezer)
		}
		if unified || slices.Contains(controllers, "cpu") {
			walkUp(group, "cpu", unified, x.readThrottling)
		}
	}
}

// walkUp calls look for the cgroup and every ancestor that can be seen, from the
// inside out.
func walkUp(group, controller string, unified bool, look func(folder, group string, unified bool)) {
	for _, m := range cgroupMounts() {
		if m.unified != unified || !unified && !slices.Contains(m.controllers, controller) {
			continue
		}
		for g := path.Clean(group); strings.HasPrefix(g, "/"); g = path.Dir(g) {
			inside, ok := strings.CutPrefix(g+"/", strings.TrimSuffix(m.root, "/")+"/")
			if !ok || strings.HasPrefix(inside, "..") || strings.HasPrefix(g, "/..") {
				break
			}
			look(filepath.Join(m.point, inside), g, unified)
			if g == "/" {
				break
			}
		}
		return
	}
}

// readFreezer notes whether this cgroup freezes the process. In v1 a cgroup tells
// of its ancestors' freezing too; in v2 it tells of its own.
func (x *Examination) readFreezer(folder, group string, unified bool) {
	var buf [256]byte
	if !unified {
		state, err := readShort(folder+"/freezer.state", buf[:])
		x.FrozenKnown = x.FrozenKnown || err == nil || group == "/" // the root has no state
		if err == nil && bytes.HasPrefix(state, []byte("FR")) {
			x.Frozen = group // the outermost one that says so is the one that was frozen
		}
		return
	}
	freeze, err := readShort(folder+"/cgroup.freeze", buf[:])
	x.FrozenKnown = x.FrozenKnown || err == nil || group == "/"
	if err == nil && bytes.HasPrefix(freeze, []byte("1")) {
		x.Frozen = group
		return
	}
	events, err := readShort(folder+"/cgroup.events", buf[:])
	if err == nil && bytes.Contains(events, []byte("frozen 1")) && x.Frozen == "" {
		x.Frozen = group
	}
}

// readThrottling adds up how often this cgroup was throttled.
func (x *Examination) readThrottling(folder, group string, _ bool) {
	var buf [1024]byte
	stat, err := readShort(folder+"/cpu.stat", buf[:])
	if err != nil {
		return
	}
	value := statusField(stat, "nr_throttled ")
	n, err := strconv.ParseInt(string(value), 10, 64)
	if value == nil || err != nil {
		return
	}
	x.Throttled = max(x.Throttled, 0) + n
	if x.ThrottledBy == "" && hasQuota(folder) {
		x.ThrottledBy = group
	}
}

// hasQuota reports whether the cgroup limits the processor time: "max" in v2, a
// negative number in v1 is no limit.
func hasQuota(folder string) bool {
	var buf [64]byte
	for _, file := range []string{"/cpu.max", "/cpu.cfs_quota_us"} {
		limit, err := readShort(folder+file, buf[:])
		if err == nil {
			return !bytes.HasPrefix(limit, []byte("max")) && !bytes.HasPrefix(limit, []byte("-"))
		}
		if err != unix.ENOENT {
			return false
		}
	}
	return false
}
