package dbtest

import (
	"strings"
	"sync"
)

// Log keeps what is logged. Its zero value is ready, for any number of goroutines.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write takes a part of the log; it never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all that was logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count is how often the part stands in what was logged so far.
func (l *Log) Count(part string) int { return strings.Count(l.String(), part) }
