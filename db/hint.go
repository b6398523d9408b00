package db

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Channel is the name of the NOTIFY channel.
const Channel = "terasocket"

// Hint is what a notification says: transaction XID wrote rows to the event log whose seqs are First to Last (others of
// that range may be of other transactions). It is a hint and no more: anyone may send one.
type Hint struct {
	XID         uint64
	First, Last int64
}

// ParseHint reads the payload of a notification (migration 0001, notify_events). What it says beside the three numbers
// is for people who LISTEN with psql.
func ParseHint(payload string) (Hint, error) {
	var p struct {
		XID  string `json:"xid"`
		From int64  `json:"from"`
		To   int64  `json:"to"`
	}
	if err := json.Unmarshal([]byte(payload), &p); err != nil {
		return Hint{}, errors.New("parse notification: it is not the JSON that terasocket sends")
	}
	xid, err := strconv.ParseUint(p.XID, 10, 63)
	if err != nil {
		return Hint{}, fmt.Errorf("parse notification: xid: %w", err)
	}
	if p.From < 1 || p.To < p.From {
		return Hint{}, fmt.Errorf("parse notification: there are no rows %d to %d", p.From, p.To)
	}
	return Hint{XID: xid, First: p.From, Last: p.To}, nil
}

// merge appends h to hints. The notifications of one transaction come in a row: they become one hint.
func merge(hints []Hint, h Hint) []Hint {
	if n := len(hints); n > 0 && hints[n-1].XID == h.XID {
		hints[n-1].First = min(hints[n-1].First, h.First)
		hints[n-1].Last = max(hints[n-1].Last, h.Last)
		return hints
	}
	return append(hints, h)
}
