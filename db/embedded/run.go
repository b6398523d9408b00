//go:build unix

package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// run starts postgres and waits until it accepts connections. It leaves no process behind when it returns an error.
func (s *Server) run(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own copy
	begin, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := s.command(filepath.Join(s.bin, "postgres"), "-D", s.data())
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = start(cmd); err != nil {
		return err
	}
	if err := s.dog.guard(cmd.Process.Pid); err != nil {
		return errors.Join(err, s.halt(syscall.SIGQUIT, syscall.SIGKILL))
	}
	if err := s.waitReady(ctx); err != nil {
		text, readErr := os.ReadFile(log.Name())
		if readErr == nil && int64(len(text)) > begin {
			err = fmt.Errorf("%w; its log ends:\n%s", err, lastLines(text[begin:], 15))
		}
		return errors.Join(err, s.halt(syscall.SIGQUIT, syscall.SIGKILL))
	}
	return nil
}

// waitReady waits for the status "ready" in line 8 of postmaster.pid, as pg_ctl does. Line 1 tells our server's file from one left behind
// by a crash.
func (s *Server) waitReady(ctx context.Context) error {
	file := filepath.Join(s.data(), "postmaster.pid")
	pid := fmt.Sprint(s.process.cmd.Process.Pid)
	tick := time.NewTicker(readyPollDelay)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(file)
		if err == nil {
			lines := strings.Split(string(text), "\n")
			if len(lines) > 7 && lines[0] == pid && strings.TrimSpace(lines[7]) == "ready" {
				return nil
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-tick.C:
		case <-s.process.done:
			return fmt.Errorf("postgres ended before it was ready: %w", exitError(s.process.err))
		case <-ctx.Done():
			return fmt.Errorf("wait for postgres: %w", context.Cause(ctx))
		}
	}
}

func exitError(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}
