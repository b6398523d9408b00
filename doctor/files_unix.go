//go:build unix

package doctor

import "syscall"

// openFiles returns how many files a process started from here may open.
func openFiles() (limit uint64, isKnown bool) {
	var files syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
	return uint64(files.Max), err == nil //nolint:unconvert // int64 on FreeBSD
}
