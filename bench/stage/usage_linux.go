package stage

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what one process has used.
type Usage struct {
	PSS       int64 // bytes of memory, shared pages divided by their users
	RSS       int64 // bytes of memory, shared pages counted in full
	Threads   int
	Switches  int64 // voluntary context switches of all its threads that are alive
	Forced    int64 // involuntary ones
	PerThread map[string]int64
}

// UsageOf reads /proc of one process.
func UsageOf(pid int) (u Usage, err error) {
	folder := fmt.Sprintf("/proc/%d", pid)
	pss, err := field(folder+"/smaps_rollup", "Pss:")
	if err != nil {
		return u, err
	}
	rss, err := field(folder+"/smaps_rollup", "Rss:")
	if err != nil {
		return u, err
	}
	u.PSS, u.RSS = pss*1024, rss*1024
	tasks, err := filepath.Glob(folder + "/task/*")
	if err != nil {
		return u, err
	}
	u.Threads, u.PerThread = len(tasks), map[string]int64{}
	for _, t := range tasks {
		voluntary, err := field(t+"/status", "voluntary_ctxt_switches:")
		if err != nil {
			return u, err
		}
		forced, err := field(t+"/status", "nonvoluntary_ctxt_switches:")
		if err != nil {
			return u, err
		}
		u.PerThread[filepath.Base(t)] = voluntary
		u.Switches += voluntary
		u.Forced += forced
	}
	return u, nil
}

// field is the number behind a word at the beginning of a line.
func field(file, word string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if parts := strings.Fields(lines.Text()); len(parts) > 1 && parts[0] == word {
			return strconv.ParseInt(parts[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, word)
}

// Idle is what several processes use together while nothing happens.
type Idle struct {
	For      time.Duration
	PSS      int64   // bytes, together, at the end
	Switches float64 // voluntary context switches a second, together
	Threads  int
	Each     []Usage // the switches in it are those within For
}

// MeasureIdle watches the processes for a while. A thread that ends meanwhile
// would take its switches along, so that is an error.
func MeasureIdle(ctx context.Context, d time.Duration, pids ...int) (Idle, error) {
	before := make([]Usage, len(pids))
	var err error
	began := time.Now()
	for i, pid := range pids {
		if before[i], err = UsageOf(pid); err != nil {
			return Idle{}, err
		}
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return Idle{}, ctx.Err()
	}
	idle := Idle{For: time.Since(began)}
	for i, pid := range pids {
		u, err := UsageOf(pid)
		if err != nil {
			return Idle{}, err
		}
		idle.PSS += u.PSS
		idle.Threads += u.Threads
		for thread, n := range before[i].PerThread {
			if _, there := u.PerThread[thread]; !there {
				return Idle{}, fmt.Errorf("thread %s of process %d ended while it was measured", thread, pid)
			}
			u.PerThread[thread] -= n
		}
		u.Switches -= before[i].Switches
		idle.Switches += float64(u.Switches) / idle.For.Seconds()
		idle.Each = append(idle.Each, u)
	}
	return idle, nil
}

// MS is a time in milliseconds, for people.
func MS(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// MB are bytes in megabytes, for people.
func MB(bytes int64) float64 { return float64(bytes) / 1e6 }
