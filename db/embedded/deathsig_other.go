//go:build unix && !linux

package embedded

import "syscall"

// endWithParent does nothing: only Linux can signal a process when its parent dies; elsewhere the watchdog alone does it.
func endWithParent(*syscall.SysProcAttr) {}
