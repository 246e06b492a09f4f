//go:build !linux

package main

import "github.com/pairguard/pairguard/internal/proc"

// guardProcesses says honestly that other processes are not looked for here; the
// observer's handles have to do.
func guardProcesses(_, _, _ string) (pids []int, known bool) { return nil, false }

// unreaped: whether a dead process is reaped cannot be seen from outside here.
func unreaped([]*proc.Handle) int { return 0 }

// machineFacts are what a reader of the report wants to know of the machine.
func machineFacts() []fact { return nil }
