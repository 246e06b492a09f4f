package proc

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var isProcessInJob = kernel32.NewProc("IsProcessInJob")

// jobThatKeeps says, in words, what the job object around this process does to the
// processes that it starts; empty when they can leave the job, or there is none.
func jobThatKeeps() string {
	var inside int32
	if ok, _, _ := isProcessInJob.Call(uintptr(windows.CurrentProcess()), 0, uintptr(unsafe.Pointer(&inside))); ok == 0 || inside == 0 {
		return ""
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	err := windows.QueryInformationJobObject(0, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)), nil)
	if err != nil {
		return ""
	}
	flags := limits.BasicLimitInformation.LimitFlags
	const leave = windows.JOB_OBJECT_LIMIT_BREAKAWAY_OK | windows.JOB_OBJECT_LIMIT_SILENT_BREAKAWAY_OK
	switch {
	case flags&leave != 0:
		return ""
	case flags&windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE != 0:
		return "a job object around this process lets nothing out of it: when whoever made the job ends it, the peer ends too"
	}
	return "a job object around this process lets nothing out of it: its limits hold for the peer too"
}
