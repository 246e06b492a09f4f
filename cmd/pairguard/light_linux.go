package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settled is when a guard has been through everything that it does but once.
const settled = 3 * time.Second

// shedCode lets go, once, of the pages of this program's file that starting has touched:
// the kernel maps many around each that is needed, and all but a few are never needed
// again. What is comes back from the page cache, 64 KiB at a time.
func shedCode() {
	time.AfterFunc(settled, func() {
		maps, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			return
		}
		exe, err := os.Readlink("/proc/self/exe")
		if err != nil {
			return
		}
		for lines := bufio.NewScanner(strings.NewReader(string(maps))); lines.Scan(); {
			shedMapping(lines.Text(), exe)
		}
	})
}

// shedMapping takes a line of /proc/self/maps: proc_pid_maps(5). Only what cannot be
// written is let go: it is in the file as it was.
func shedMapping(line, exe string) {
	var begin, end uintptr
	var access, offset, device, inode string
	if n, _ := fmt.Sscanf(line, "%x-%x %s %s %s %s", &begin, &end, &access, &offset, &device, &inode); n != 6 {
		return
	}
	if (access == "r-xp" || access == "r--p") && strings.HasSuffix(line, " "+exe) {
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, begin, end-begin, unix.MADV_DONTNEED)
	}
}
