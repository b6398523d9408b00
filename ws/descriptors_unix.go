//go:build unix

package ws

import "syscall"

// descriptors is how many files and sockets this process may have open; 0: not known.
func descriptors() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30)) //nolint:unconvert // its type differs from system to system
}
