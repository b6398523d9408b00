//go:build unix

package ws

import "syscall"

// descriptors returns how many files and sockets this process may have open; 0 if not known.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30)) //nolint:unconvert // the type of Cur differs between systems
}
