//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "takeover: it needs Linux's /proc and pidfds; run it there")
	os.Exit(1)
}
