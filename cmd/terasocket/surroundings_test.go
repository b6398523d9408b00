package main

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// logsInto starts a gateway that logs every detail into a pipe, whose other end is given.
func logsInto(t *testing.T, databaseURL string) (gateway *served, reader *os.File) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	s := &served{t: t, dbURL: databaseURL, exited: make(chan error, 1)}
	s.process = exec.Command(path, "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--plain-http",
		"--log-level", "debug", "--drain-time", "200ms", "--presence-grace", "0")
	s.process.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)
	s.process.Stderr = writer
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	t.Cleanup(func() { _ = s.process.Process.Kill(); <-s.exited })
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		s.exited <- s.process.Wait()
		t.Fatal("the gateway did not get ready")
	}
	match := readyLine.FindStringSubmatch(lines.Text())
	if match == nil {
		t.Fatalf("unexpected ready line %q", lines.Text())
	}
	s.url, s.admin = match[1], match[2]
	go func() { s.exited <- s.process.Wait(); close(s.exited) }()
	return s, reader
}

// hammer makes the gateway log.
func (s *served) hammer(requests int) {
	s.t.Helper()
	for range requests {
		response, err := http.Get(s.https() + "/api/device/login?token=wrong")
		if err != nil {
			s.t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

func (s *served) mustEndAtTERM() {
	s.t.Helper()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.exited:
		if err != nil {
			s.t.Errorf("exited with %v", err)
		}
	case <-time.After(20 * time.Second):
		s.t.Error("still running 20 s after SIGTERM")
	}
}

// Whoever reads the log goes away, or stops reading: clients stay, and SIGTERM ends the gateway.
func TestTheReaderOfTheLog(t *testing.T) {
	t.Parallel()
	t.Run("goes away", func(t *testing.T) {
		t.Parallel()
		url := dbtest.New(t, migrated())
		gateway, reader := logsInto(t, url)
		paul := gateway.login(opentera.DemoProjectAdmin, "")
		_ = reader.Close()
		gateway.hammer(3)
		rename(t, dbtest.Pool(t, url), 1, "nobody reads")
		paul.mustHearNames("nobody reads")
		gateway.waitFor(after("0"), "terasocket_log_lines_lost_total")
		gateway.mustEndAtTERM()
	})
	t.Run("stops reading", func(t *testing.T) {
		t.Parallel()
		url := dbtest.New(t, migrated())
		gateway, _ := logsInto(t, url)
		paul := gateway.login(opentera.DemoProjectAdmin, "")
		gateway.hammer(1000) // far over the 64 KiB that a pipe holds
		rename(t, dbtest.Pool(t, url), 1, "nobody reads")
		paul.mustHearNames("nobody reads")
		gateway.mustEndAtTERM()
	})
}
