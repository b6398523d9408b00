package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// gate is a log reader that blocks until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	text strings.Builder
	fail error
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail != nil {
		return 0, g.fail
	}
	return g.text.Write(p)
}

func (g *gate) set(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fail = err
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func TestNothingWaitsForTheLog(t *testing.T) {
	t.Parallel()
	reader := &gate{open: make(chan struct{})}
	q := newLogQueue(reader)
	q.log = slog.New(slog.NewTextHandler(q, nil))
	line := strings.Repeat("x", 1023)
	const lines = 4000 // of 1 KiB: some 1,000 fit twice, in the current write and in the queue
	for range lines {
		_, _ = io.WriteString(q, line+"\n")
	}
	lost := q.Lost()
	if lost < lines-2*maxLogWaiting/1024-1 || lost == lines {
		t.Errorf("%d of %d lines lost", lost, lines)
	}
	close(reader.open)
	q.Close()
	got := reader.String()
	if n := strings.Count(got, line); uint64(n) != lines-lost {
		t.Errorf("%d lines written, %d lost, of %d", n, lost, lines)
	}
	if !strings.Contains(got, fmt.Sprint("lines=", lost)) {
		t.Errorf("the log ends in %q", got[max(0, len(got)-200):])
	}
}

func TestTheLogSaysWhatWasLost(t *testing.T) {
	t.Parallel()
	reader := &gate{open: make(chan struct{}), fail: errors.New("broken pipe")}
	close(reader.open)
	q := newLogQueue(reader)
	q.log = slog.New(slog.NewTextHandler(q, nil))
	for range 3 {
		_, _ = io.WriteString(q, "a line\n")
	}
	for q.Lost() < 3 {
		time.Sleep(time.Millisecond)
	}
	reader.set(nil)
	_, _ = io.WriteString(q, "heard\n")
	for !strings.Contains(reader.String(), "lost") {
		time.Sleep(time.Millisecond)
	}
	q.Close()
	if got := reader.String(); !strings.HasPrefix(got, "heard\n") || !strings.Contains(got, "lines=3") {
		t.Errorf("%q", got)
	}
}

func TestTheEndDoesNotWaitForTheLog(t *testing.T) {
	t.Parallel()
	reader := &gate{open: make(chan struct{})}
	q := newLogQueue(reader)
	_, _ = io.WriteString(q, "a line\n")
	q.Close() // returns
	close(reader.open)
	<-q.done
}
