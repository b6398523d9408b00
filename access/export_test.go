package access

import (
	"testing"
	"time"
)

// Waits waits until n questions are queued.
func (t *Together[Q, A]) Waits(tb testing.TB, n int) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		t.mu.Lock()
		waiting := len(t.waiting)
		t.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("%d wait, want %d", waiting, n)
		}
	}
}
