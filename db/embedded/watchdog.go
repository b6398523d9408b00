//go:build unix

package embedded

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// watchdogScript reads the id of the process to end (an empty line: none) or "stop". When its input closes without a "stop", this program
// is dead: the script ends the process and removes the directory.
const watchdogScript = `
pid=
while read -r line; do
	[ "$line" = stop ] && exit 0
	pid=$line
done
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	i=0
	while [ $i -lt 100 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; i=$((i + 1)); done
	kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
`

// watchdog outlives this program only until it has cleaned up.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startWatchdog(dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "terasocket-postgres-watchdog", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// guard sets the process to end; 0 is none.
func (w *watchdog) guard(pid int) error {
	line := "\n"
	if pid != 0 {
		line = strconv.Itoa(pid) + "\n"
	}
	if _, err := io.WriteString(w.pipe, line); err != nil {
		return fmt.Errorf("tell watchdog: %w", err)
	}
	return nil
}

// stop ends the watchdog without any clean-up.
func (w *watchdog) stop() error {
	if _, err := io.WriteString(w.pipe, "stop\n"); err != nil {
		w.cmd.Process.Kill() // it must not take the closed pipe for our death
	}
	w.pipe.Close()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("stop watchdog: %w", err)
	}
	return nil
}
