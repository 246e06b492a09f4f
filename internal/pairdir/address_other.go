//go:build !linux && !windows

package pairdir

// maxAddress is sizeof(sun_path) less the final zero: 104 on the BSDs and macOS.
const maxAddress = 103
