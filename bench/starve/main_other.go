//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "starve: needs Linux: it makes use of its scheduling classes and cgroups")
	os.Exit(1)
}
