package db

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// The NOTIFY channels: for committed changes, and for announcements.
const (
	ChangeChannel = "terasocket"
	LogChannel    = "terasocket_log"
)

var errNotOurs = errors.New("parse notification: it is not the JSON that terasocket sends")

// ParseChange parses the payload of a notification on ChangeChannel: the transaction that has committed changes; 0: look at the tables,
// since a gateway begins to poll. The rest of the payload is for people who LISTEN with psql.
func ParseChange(payload string) (xid uint64, err error) {
	var p struct {
		XID  string `json:"xid"`
		What string `json:"what"`
	}
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return 0, errNotOurs
	}
	if p.What == "poll" {
		return 0, nil
	}
	if xid, err = strconv.ParseUint(p.XID, 10, 63); err != nil {
		return 0, fmt.Errorf("parse notification: xid: %w", errors.Unwrap(err)) // without the payload
	}
	return xid, nil
}

// ParseAnnouncement parses the payload of a notification on LogChannel: the last seq that was appended.
func ParseAnnouncement(payload string) (seq uint64, err error) {
	var p struct {
		Seq int64 `json:"seq"`
	}
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return 0, errNotOurs
	}
	if p.Seq < 1 {
		return 0, errors.New("parse notification: seq is not positive")
	}
	return uint64(p.Seq), nil
}

// Hints say that something changed.
type Hints struct {
	XIDs   []uint64  // transactions that have committed changes
	IsMore bool      // and others, unknown which
	Since  time.Time // when the oldest was received, or notifications began to be missed; zero: there are none
}

// hintsKept is how many transactions Hints name; beyond that it sets IsMore.
const hintsKept = 1000

func (h *Hints) add(xid uint64, now time.Time) {
	h.begin(now)
	switch {
	case h.IsMore:
	case len(h.XIDs) == hintsKept:
		h.XIDs, h.IsMore = nil, true
	default:
		h.XIDs = append(h.XIDs, xid)
	}
}

// more records that something unknown has changed since then.
func (h *Hints) more(since time.Time) {
	h.begin(since)
	h.XIDs, h.IsMore = nil, true
}

func (h *Hints) begin(since time.Time) {
	if h.Since.IsZero() || since.Before(h.Since) {
		h.Since = since
	}
}
