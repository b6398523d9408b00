package dbtest

import (
	"strings"
	"sync"
)

// Log collects log output. Its zero value is ready for use, and safe for concurrent use.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends to the log; it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns everything logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often part occurs in the log.
func (l *Log) Count(part string) int { return strings.Count(l.String(), part) }
