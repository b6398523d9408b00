//go:build unix

package dbtest

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"terasocket/db/embedded"
)

// Crash kills a server at once, without a checkpoint; pid is that of its postmaster, which ends a moment later. server.Restart starts it
// again.
func Crash(server *embedded.Server) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(server.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return 0, fmt.Errorf("postmaster.pid: %w", err)
	}
	return pid, syscall.Kill(pid, syscall.SIGQUIT)
}
