package pairdir

import (
	"fmt"
	"os"
)

// maxOutput is the size at which the output of a peer is put aside, in bytes.
const maxOutput = 10 << 20

// OpenOutput opens KEY.log, the output of a revived peer, for appending. It is
// renamed to KEY.log.1 first when it is larger than 10 MiB; failing to do so is
// no reason to do without.
func (d *Dir) OpenOutput(n Name) (*os.File, error) {
	path := d.file(n, ".log")
	info, err := os.Lstat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("output %s: is not a regular file; remove it", path)
	}
	if err == nil && info.Size() > maxOutput {
		_ = os.Rename(path, path+".1")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w; remove it", path, err)
	}
	keepRights(f)
	return f, nil
}
