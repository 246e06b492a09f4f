//go:build !linux

package main

// shedCode does nothing: how much of a program's file is kept in memory is left to the
// system.
func shedCode() {}
