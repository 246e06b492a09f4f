package proc

import (
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
)

// completeExtension adds .exe and the like, as PATHEXT says.
func completeExtension(path string) (string, error) {
	if found, err := exec.LookPath(path); err == nil {
		return found, checkExecutable(found)
	}
	return path, checkExecutable(path)
}

// checkPermission goes by the extension: there is no other mark of a program.
func checkPermission(path string) error {
	if _, err := exec.LookPath(path); err != nil {
		return fmt.Errorf("%q is not executable (extension %q): name an .exe: %w", path, filepath.Ext(path), fs.ErrPermission)
	}
	return nil
}
