package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pairguard/pairguard/internal/proc"
)

// What the drill reads of other processes and of the machine is in proc(5).

// guardProcesses are the live guards of two names that have inherited the mark;
// known is false where they cannot be looked for.
func guardProcesses(mark, a, b string) (pids []int, known bool) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		args := nullSeparated("/proc/" + e.Name() + "/cmdline")
		if len(args) < 4 || args[1] != "guard" || !slices.Contains([]string{a, b}, args[2]) {
			continue // or it is dead: then it has no arguments any more
		}
		if slices.Contains(nullSeparated("/proc/"+e.Name()+"/environ"), mark) {
			pids = append(pids, pid)
		}
	}
	return pids, true
}

func nullSeparated(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
}

// unreaped counts the dead whose parent is one of them all, or this process, and
// has not reaped them. Orphans are the business of whoever adopts them.
func unreaped(all []*proc.Handle) int {
	parents := map[int]bool{os.Getpid(): true}
	for _, h := range all {
		if lives(h) {
			parents[h.PID()] = true
		}
	}
	n := 0
	for _, h := range all {
		if state, parent := stateOf(h.PID()); state == "Z" && parents[parent] {
			n++
		}
	}
	return n
}

func stateOf(pid int) (state string, parent int) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, found := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if err != nil || !found || len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

// machineFacts are what a reader of the report wants to know of the machine.
func machineFacts() []fact {
	var facts []fact
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		facts = append(facts, fact{"kernel", unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])})
	}
	for line := range strings.Lines(contents("/etc/os-release")) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			facts = append(facts, fact{"system", strings.Trim(name, `"`)})
		}
	}
	for line := range strings.Lines(contents("/proc/cpuinfo")) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			facts = append(facts, fact{"processor", strings.TrimSpace(value)})
			break
		}
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		facts = append(facts, fact{"memory", fmt.Sprintf("%.1f GiB", float64(uint64(info.Totalram)*uint64(info.Unit))/(1<<30))})
	}
	if load := strings.Fields(contents("/proc/loadavg")); len(load) >= 3 {
		facts = append(facts, fact{"load after it", strings.Join(load[:3], " ")})
	}
	return facts
}

func contents(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}
