//go:build !linux

package pairdir

func exchangeFiles(string, string) error { return ErrNotSupported }
