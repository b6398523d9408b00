package db

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is PostgreSQL's pg_snapshot: which transactions had ended at a moment.
type Snapshot struct {
	xmin, xmax uint64   // below xmin all had ended, from xmax on none had
	running    []uint64 // those between that had not, ascending
}

// ParseSnapshot reads PostgreSQL's text form, xmin:xmax:xid,xid,...
func ParseSnapshot(s string) (Snapshot, error) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return Snapshot{}, fmt.Errorf("parse snapshot %.100q: it is not xmin:xmax:list", s)
	}
	var snap Snapshot
	var err error
	if snap.xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("parse snapshot %.100q: %w", s, err)
	}
	if snap.xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return Snapshot{}, fmt.Errorf("parse snapshot %.100q: %w", s, err)
	}
	if snap.xmax < snap.xmin {
		return Snapshot{}, fmt.Errorf("parse snapshot %.100q: xmax is below xmin", s)
	}
	if parts[2] == "" {
		return snap, nil
	}
	for _, x := range strings.Split(parts[2], ",") {
		xid, err := strconv.ParseUint(x, 10, 64)
		if err != nil {
			return Snapshot{}, fmt.Errorf("parse snapshot %.100q: %w", s, err)
		}
		snap.running = append(snap.running, xid)
	}
	if !slices.IsSorted(snap.running) {
		return Snapshot{}, fmt.Errorf("parse snapshot %.100q: its list is not ascending", s)
	}
	return snap, nil
}

// Sees says whether the transaction had ended when the snapshot was taken (pg_visible_in_snapshot).
func (s Snapshot) Sees(xid uint64) bool {
	if xid < s.xmin {
		return true
	}
	if xid >= s.xmax {
		return false
	}
	_, isRunning := slices.BinarySearch(s.running, xid)
	return !isRunning
}

// before is the snapshot that a transaction recorded, without that transaction: PostgreSQL counts it among those that have
// ended, when it began before another one that has.
func (s Snapshot) before(xid uint64) Snapshot {
	if i, isRunning := slices.BinarySearch(s.running, xid); !isRunning && s.Sees(xid) {
		s.running = slices.Insert(slices.Clone(s.running), i, xid)
		s.xmin = min(s.xmin, xid)
	}
	return s
}

// isAfter says whether s was taken later than t, or sees more, which is the same: a snapshot sees all that an earlier one
// does.
func (s Snapshot) isAfter(t Snapshot) bool {
	return s.xmax > t.xmax || s.xmax == t.xmax && len(s.running) < len(t.running)
}

// String gives PostgreSQL's text form.
func (s Snapshot) String() string {
	list := make([]string, len(s.running))
	for i, xid := range s.running {
		list[i] = strconv.FormatUint(xid, 10)
	}
	return fmt.Sprintf("%d:%d:%s", s.xmin, s.xmax, strings.Join(list, ","))
}

// SeenIn says whether the transaction had ended in the snapshot with this text form; not in one that is none.
func SeenIn(snapshot string, xid uint64) bool {
	s, err := ParseSnapshot(snapshot)
	return err == nil && s.Sees(xid)
}
