//go:build unix

package ws

import (
	"errors"
	"os"
	"syscall"
)

// canTry says that writeNow works here.
const canTry = true

// writeNow gives the kernel as much of p as it takes without waiting, perhaps nothing.
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
