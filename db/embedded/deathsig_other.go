//go:build unix && !linux

package embedded

import "syscall"

// endWithParent: only Linux can tell a process that its parent died; elsewhere
// the watchdog alone does it.
func endWithParent(*syscall.SysProcAttr) {}
