package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"terasocket/db/embedded"
)

// child is this program in a process of its own, so that its resources can be measured separately.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	line  string // first line of its output
}

const childPatience = 30 * time.Second

// startChild returns once the child has printed a line.
func startChild(ctx context.Context, stderr io.Writer, args ...string) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	c := &child{cmd: exec.Command(program, args...)}
	c.cmd.Stderr = stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	line := make(chan string, 1)
	go func() {
		out := bufio.NewReader(stdout)
		text, _ := out.ReadString('\n')
		line <- text
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case c.line = <-line:
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), c.stop())
	case <-time.After(childPatience):
	}
	if c.line == "" {
		return nil, errors.Join(fmt.Errorf("%s did not get ready", args[0]), c.stop())
	}
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop closes its standard input, sends SIGTERM, and waits.
func (c *child) stop() error {
	_ = c.stdin.Close()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(childPatience, func() { _ = c.cmd.Process.Kill() })
	defer late.Stop()
	if err := c.cmd.Wait(); err != nil && c.cmd.ProcessState.ExitCode() > 0 {
		return fmt.Errorf("%s ended: %w", c.cmd.Args[1], err)
	}
	return nil
}

// postmaster returns the server's process id.
func postmaster(server *embedded.Server) (pid int, err error) {
	text, err := os.ReadFile(filepath.Join(server.Dir(), "data", "postmaster.pid"))
	if err == nil {
		first, _, _ := strings.Cut(string(text), "\n")
		pid, err = strconv.Atoi(first)
	}
	if err != nil {
		return 0, fmt.Errorf("find the process of PostgreSQL: %w", err)
	}
	return pid, nil
}
