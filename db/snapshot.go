package db

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Snapshot is PostgreSQL's pg_snapshot: which transactions had ended at one moment.
type Snapshot struct {
	xmin, xmax uint64   // all transactions below xmin had ended, none from xmax on
	running    []uint64 // those in between that had not, ascending
}

// ParseSnapshot parses PostgreSQL's text form, xmin:xmax:xid,xid,...
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

// Sees reports whether the transaction had ended when the snapshot was taken (pg_visible_in_snapshot).
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

// String returns PostgreSQL's text form.
func (s Snapshot) String() string {
	list := make([]string, len(s.running))
	for i, xid := range s.running {
		list[i] = strconv.FormatUint(xid, 10)
	}
	return fmt.Sprintf("%d:%d:%s", s.xmin, s.xmax, strings.Join(list, ","))
}
