package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestASilentStartSaysWhatToLookAt(t *testing.T) {
	t.Parallel()
	err := whatWasSilent(fmt.Errorf("register: %w", context.DeadlineExceeded))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "a proxy before it") {
		t.Error(err)
	}
	if other := errors.New("x"); whatWasSilent(other) != other || whatWasSilent(nil) != nil {
		t.Error("another error was changed")
	}
}

func TestWaitingAtMost(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	never := make(chan struct{})
	defer close(never)
	failed := errors.New("failed")
	if err := waitAtMost(ended, func() error { <-never; return nil }, time.Millisecond); !errors.Is(err, errStopTimeout) {
		t.Errorf("never ends: %v", err)
	}
	if err := waitAtMost(ended, func() error { return failed }, time.Minute); !errors.Is(err, failed) {
		t.Errorf("ends in time: %v", err)
	}
	if err := waitAtMost(t.Context(), func() error { return failed }, 0); !errors.Is(err, failed) {
		t.Errorf("ends before: %v", err)
	}
}

func TestTheSourceOfAURL(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	con := &console{files: map[string]string{"database-url": file}}
	source := con.source("database-url", "postgres://h/first")
	for content, want := range map[string]string{"": "read the file of --database-url", "postgres://u:secret@%zz": "--database-url, or a parameter in it, cannot be read"} {
		if content != "" {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.Remove(file) }()
		} else {
			_ = os.Remove(file)
		}
		if _, err := source(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", content, err)
		}
	}
	if err := os.WriteFile(file, []byte(" postgres://h/second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := source(); got != "postgres://h/second" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := (&console{}).source("database-url", "postgres://h/x")(); got != "postgres://h/x" || err != nil {
		t.Errorf("without a file: %s, %v", got, err)
	}
	// the listener uses the pool's URL unless it has its own
	pool, listener := (&serveCmd{ListenDatabaseURL: "b"}).sources("a")
	if a, b := must(pool()), must(listener()); a != "a" || b != "b" {
		t.Errorf("%s, %s", a, b)
	}
	if _, listener := (&serveCmd{}).sources("a"); must(listener()) != "a" {
		t.Error("the listener uses another URL")
	}
}
