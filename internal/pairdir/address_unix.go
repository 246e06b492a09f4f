//go:build !windows

package pairdir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pairguard/pairguard/internal/ipc"
)

func isAddress(s string) bool { return strings.HasPrefix(s, "/") }

func plainAddress(s string) (ipc.Address, error) {
	if err := checkFree(s, s); err != nil {
		return "", err
	}
	if strings.HasSuffix(s, "/") || filepath.Base(s) == "." || filepath.Base(s) == ".." {
		return "", fmt.Errorf("name %q: means a folder; name a socket in it", s)
	}
	return ipc.Address(filepath.Clean(s)), nil
}

// qtAddress follows QLocalServer::listen: QDir::tempPath() + "/" + name, where
// tempPath is $TMPDIR, else /tmp. https://doc.qt.io/qt-6/qdir.html#tempPath
func qtAddress(s string) (ipc.Address, error) {
	name := strings.TrimPrefix(s, qtPrefix)
	if err := checkFree(s, name); err != nil {
		return "", err
	}
	if strings.Contains(name, "/") || name == "." || name == ".." {
		return "", fmt.Errorf("name %q: must not contain '/'; give a path without %s instead", s, qtPrefix)
	}
	temp := os.Getenv("TMPDIR")
	if temp == "" {
		temp = "/tmp"
	}
	if !filepath.IsAbs(temp) {
		return "", fmt.Errorf("name %q: TMPDIR=%s is not an absolute path; set it to one", s, temp)
	}
	return ipc.Address(filepath.Join(temp, name)), nil
}

func (d *Dir) ordinaryAddress(key string) (ipc.Address, error) {
	return ipc.Address(filepath.Join(d.path, key+".sock")), nil
}

func (d *Dir) ordinaryKey(a ipc.Address) (string, bool) {
	key, found := strings.CutSuffix(filepath.Base(string(a)), ".sock")
	if !found || filepath.Dir(string(a)) != d.path || checkOrdinary(key) != nil {
		return "", false
	}
	return fileKey(key), true
}
