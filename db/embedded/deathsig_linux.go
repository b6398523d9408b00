package embedded

import "syscall"

// endWithParent makes the kernel send SIGQUIT, PostgreSQL's immediate shutdown, when the thread that started the process dies. That is
// why process keeps its thread (see start).
func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGQUIT }
