package dbtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"
	"time"
)

// CPU returns the CPU time used by backends of a test's server, from /proc: on a busy machine it tells more than the clock. Backends that
// have ended count nothing. Without /proc the benchmark is skipped.
func CPU(b *testing.B, pids ...uint32) (used time.Duration) {
	b.Helper()
	if _, err := os.Stat("/proc/self/schedstat"); err != nil {
		b.Skip("no /proc/PID/schedstat here")
	}
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var ns time.Duration
		if _, scanErr := fmt.Sscan(string(stat), &ns); err != nil || scanErr != nil {
			b.Fatalf("CPU time of backend %d: %v", pid, errors.Join(err, scanErr))
		}
		used += ns
	}
	return used
}
