package standin

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel end the program when the thread that starts it dies.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
