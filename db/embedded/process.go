//go:build unix

package embedded

import (
	"os"
	"os/exec"
	"runtime"
	"time"
)

// process is a started program and the goroutine that waits for it. done is closed once it has ended; only then may err be read.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// start runs cmd. Linux ties PR_SET_PDEATHSIG to the thread that forked, and the Go runtime may end any thread: so the goroutine that
// starts the process keeps its thread as long as the process lives.
func start(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Program starts another program like the server: not as root, and ended when this program ends. kill ends it at once and waits for that;
// ended is closed once it has ended, for whatever reason.
func Program(name string, args ...string) (kill func(), ended <-chan struct{}, err error) {
	a, err := serverAccount()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = a.attributes()
	p, err := start(cmd)
	if err != nil {
		return nil, nil, err
	}
	return func() { p.end(os.Kill, time.Minute) }, p.done, nil
}

// end sends sig and waits at most limit for the process to end. It reports whether it has ended.
func (p *process) end(sig os.Signal, limit time.Duration) bool {
	if err := p.cmd.Process.Signal(sig); err != nil {
		limit = time.Second // it is ending already
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}
