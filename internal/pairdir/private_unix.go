//go:build unix

package pairdir

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// checkPrivate reports why other users could reach into the folder: its owner,
// its mode, or a parent in which anybody can put another folder in its place.
func checkPrivate(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("folder %s: owner unknown: %w", path, ErrNotSupported)
	}
	if uid := os.Geteuid(); int(stat.Uid) != uid {
		return fmt.Errorf("folder %s: belongs to user %d, not to user %d; chown it, or choose another with %s or --dir",
			path, stat.Uid, uid, Variable)
	}
	if mode := info.Mode().Perm(); mode != 0o700 {
		if info.Mode()&fs.ModeSticky != 0 { // such as /tmp: to close it would shut others out
			return fmt.Errorf("folder %s: it is shared with others; choose one of its own with %s or --dir", path, Variable)
		}
		return fmt.Errorf("folder %s: mode is %04o, must be 0700; run: chmod 700 '%s'", path, mode, path)
	}
	for parent := filepath.Dir(path); ; parent = filepath.Dir(parent) {
		info, err := os.Stat(parent)
		if err != nil {
			return fmt.Errorf("folder %s: %w", path, err)
		}
		if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("folder %s: everybody can replace it, because %s is writable by all; run: chmod o-w '%s'",
				path, parent, parent)
		}
		if parent == filepath.Dir(parent) {
			return nil
		}
	}
}

// defaultPath depends on the effective user id alone. The user database is asked
// before $HOME, which su and sudo may leave pointing to somebody else's.
func defaultPath() (string, error) {
	uid := os.Geteuid()
	if uid == 0 {
		if runtime.GOOS == "linux" {
			return "/run/pairguard", nil
		}
		return "/var/run/pairguard", nil
	}
	home := ""
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		home = u.HomeDir
	}
	if home == "" {
		home = os.Getenv("HOME")
	}
	if !filepath.IsAbs(home) || home == "/" {
		return "", fmt.Errorf("user %d has no home directory; set %s to a folder of its own", uid, Variable)
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "pairguard"), nil
	}
	return filepath.Join(home, ".local", "state", "pairguard"), nil
}
