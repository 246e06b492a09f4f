package pairdir

import "golang.org/x/sys/unix"

// exchangeFiles relies on renameat2(RENAME_EXCHANGE), Linux 3.15, which most file
// systems have: EINVAL from the others, ENOENT when one of the two is missing.
func exchangeFiles(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
