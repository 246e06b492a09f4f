//go:build !unix

package pairdir

const openNoWait = 0

// syncFolder does nothing: a folder cannot be synced here, NTFS logs renames.
func syncFolder(string) {}
