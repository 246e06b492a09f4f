package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Resolve finds the executable that command means, as a shell would: by PATH when
// it has no separator, else from the working directory. It returns an absolute
// path, with symbolic links kept, so that a link that is moved to a new version
// takes effect. temporary tells that the file lies in a temporary folder, as after
// `go run`, and may not be there at the next start. The errors wrap
// fs.ErrNotExist or fs.ErrPermission where that is the cause.
func Resolve(command string) (abs string, temporary bool, err error) {
	if command == "" {
		return "", false, errors.New("no command was given: name an executable")
	}
	found := command
	if !hasSeparator(command) {
		found, err = exec.LookPath(command)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			return "", false, fmt.Errorf("%q is not in PATH: give its path, such as ./%s: %w", command, command, fs.ErrNotExist)
		}
	}
	abs, err = filepath.Abs(found)
	if err != nil {
		return "", false, fmt.Errorf("cannot tell where %q is: %w", command, err)
	}
	abs, err = completeExtension(abs)
	if err != nil {
		return "", false, err
	}
	return abs, isTemporary(abs), nil
}

func hasSeparator(path string) bool {
	return strings.ContainsFunc(path, func(r rune) bool { return r < 0x80 && os.IsPathSeparator(uint8(r)) }) ||
		filepath.VolumeName(path) != ""
}

// checkExecutable says what keeps path from being executed, if anything.
func checkExecutable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%q does not exist: check the path: %w", path, fs.ErrNotExist)
	case err != nil:
		return fmt.Errorf("%q cannot be reached: %w", path, err)
	case info.IsDir():
		return fmt.Errorf("%q is a folder: name the executable in it: %w", path, fs.ErrPermission)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file: name an executable: %w", path, fs.ErrPermission)
	}
	return checkPermission(path)
}

// isTemporary also follows links: a link to a temporary file is no better.
func isTemporary(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = path
	}
	temp := os.TempDir()
	if t, err := filepath.EvalSymlinks(temp); err == nil {
		temp = t
	}
	for p := real; ; p = filepath.Dir(p) {
		if p == temp || strings.HasPrefix(filepath.Base(p), "go-build") {
			return true
		}
		if p == filepath.Dir(p) {
			return false
		}
	}
}
