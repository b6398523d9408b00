//go:build unix

package standin

import (
	"errors"
	"syscall"
)

// Freeze stops the process: connections stay open and nothing is answered, until Thaw.
func (r *Redis) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (r *Redis) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Redis) signal(s syscall.Signal) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil {
		return errors.New("Redis is not running")
	}
	return r.process.Process.Signal(s)
}
