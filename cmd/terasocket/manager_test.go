package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
)

// notifications is a systemd socket that receives.
func notifications(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return path, func() string {
		t.Helper()
		_ = socket.SetReadDeadline(time.Now().Add(time.Minute))
		message := make([]byte, 1<<10)
		n, err := socket.Read(message)
		if err != nil {
			t.Fatalf("systemd heard nothing: %v", err)
		}
		return string(message[:n])
	}
}

func TestSystemdHearsReadyWatchdogAndStopping(t *testing.T) {
	t.Parallel()
	path, next := notifications(t)
	s := servePlain(t, gatewaytest.Config{Database: dbtest.New(t, migrated()), Env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}})
	var heard []string
	wait := func(state string) {
		t.Helper()
		for len(heard) == 0 || heard[len(heard)-1] != state {
			heard = append(heard, next())
		}
	}
	wait("READY=1")
	if slices.Contains(heard, "STOPPING=1") {
		t.Errorf("stopping before it was ready: %q", heard)
	}
	heard = nil
	wait("WATCHDOG=1")
	s.signal(syscall.SIGTERM)
	wait("STOPPING=1")
	s.mustExit()
}

func TestTheWatchdogIsNotToldByAProcessThatHangs(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "2000")
	told, works := make(chan string), make(chan struct{})
	asked := make(chan struct{}, 1)
	m := &manager{log: slog.New(slog.DiscardHandler), alive: func() { asked <- struct{}{}; <-works },
		tell: func(state string) (bool, error) { told <- state; return true, nil }}
	end := m.watch(t.Context())
	<-asked
	select {
	case state := <-told:
		t.Errorf("%s, though nothing works", state)
	default:
	}
	works <- struct{}{}
	if state := <-told; state != "WATCHDOG=1" {
		t.Error(state)
	}
	close(works)
	go func() {
		for range told {
		}
	}()
	go func() {
		for range asked {
		}
	}()
	end()
	close(told)
	close(asked)
}

func TestWithoutSystemdNothingIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	ctx, cancel := context.WithCancel(t.Context())
	m := newManager(slog.New(slog.DiscardHandler), func() { t.Error("asked") })
	real := m.tell
	said := make(chan error, 1)
	m.tell = func(state string) (bool, error) {
		heard, err := real(state)
		if heard {
			err = errors.Join(err, errors.New("heard"))
		}
		said <- err
		return heard, err
	}
	end := m.watch(ctx)
	cancel()
	if err := <-said; err != nil {
		t.Error(err)
	}
	end()
}
