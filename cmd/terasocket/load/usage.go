package load

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: hundredths of a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Usage is the resource usage of a process.
type Usage struct {
	CPU      time.Duration // user and system
	Resident int64         // bytes of memory, now
}

// UsageOf reads /proc. With children, the CPU time of its present and past children counts too, one level deep; memory is its
// own.
func UsageOf(pid int, withChildren bool) (Usage, error) {
	own, err := readStat(pid)
	if err != nil {
		return Usage{}, err
	}
	u := Usage{CPU: own.cpu, Resident: own.resident}
	if !withChildren {
		return u, nil
	}
	u.CPU += own.ended
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return Usage{}, fmt.Errorf("read /proc: %w", err)
	}
	for _, p := range processes {
		child, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(child); err == nil && s.parent == pid { // the parent counts a child that ended meanwhile
			u.CPU += s.cpu
		}
	}
	return u, nil
}

type stat struct {
	parent     int
	cpu, ended time.Duration // its own, and that of ended children
	resident   int64
}

// readStat parses /proc/PID/stat (proc(5)): fields count from 1, and the second may contain blanks and parentheses.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read what process %d used: %w", pid, err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 22 {
		return stat{}, fmt.Errorf("read what process %d used: not the format of Linux", pid)
	}
	n := func(field int) int64 { v, _ := strconv.ParseInt(fields[field-3], 10, 64); return v }
	return stat{
		parent:   int(n(4)),
		cpu:      time.Duration(n(14)+n(15)) * tick,
		ended:    time.Duration(n(16)+n(17)) * tick,
		resident: n(24) * int64(os.Getpagesize()),
	}, nil
}
