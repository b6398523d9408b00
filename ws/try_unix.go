//go:build unix

package ws

import (
	"errors"
	"os"
	"syscall"
)

// canTry reports that writeNow works on this system.
const canTry = true

// writeNow writes as much of p as the kernel takes without waiting, perhaps nothing.
func writeNow(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
}
