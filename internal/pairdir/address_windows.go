package pairdir

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pairguard/pairguard/internal/ipc"
)

const pipePrefix = `\\.\pipe\`

// maxAddress is the longest pipe name that CreateNamedPipe takes.
const maxAddress = 256

func isAddress(s string) bool {
	return len(s) >= len(pipePrefix) && strings.EqualFold(s[:len(pipePrefix)], pipePrefix)
}

func plainAddress(s string) (ipc.Address, error) {
	rest := s[len(pipePrefix):]
	if err := checkFree(s, rest); err != nil {
		return "", err
	}
	return ipc.Address(pipePrefix + rest), nil
}

func qtAddress(s string) (ipc.Address, error) {
	name := strings.TrimPrefix(s, qtPrefix)
	if err := checkFree(s, name); err != nil {
		return "", err
	}
	if strings.Contains(name, `\`) {
		return "", fmt.Errorf(`name %q: must not contain '\'`, s)
	}
	return ipc.Address(pipePrefix + name), nil
}

// ordinaryAddress names the pipe by user and folder: pipes share one flat space.
func (d *Dir) ordinaryAddress(key string) (ipc.Address, error) {
	sid, err := userSID()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(foldKey(d.path)))
	return ipc.Address(pipePrefix + "pairguard-" + sid.String() + "-" + hex.EncodeToString(sum[:8]) + "-" + key), nil
}

func (d *Dir) ordinaryKey(a ipc.Address) (string, bool) {
	prefix, err := d.ordinaryAddress("")
	if err != nil || len(a) <= len(prefix) || !strings.EqualFold(string(a[:len(prefix)]), string(prefix)) {
		return "", false
	}
	key := string(a[len(prefix):])
	return fileKey(key), checkOrdinary(key) == nil
}
