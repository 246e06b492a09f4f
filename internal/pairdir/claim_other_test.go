//go:build !linux && !windows

package pairdir

var waysToHold = map[string][]string{"lockfile": nil}
