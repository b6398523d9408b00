package eventlog

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"terasocket/db"
	"terasocket/db/dbtest"
	"terasocket/proto/event"
)

// Lag of a gateway, step by step; times are in seconds.
func TestLag(t *testing.T) {
	t.Parallel()
	listener, err := db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: dbtest.New(t, dbtest.Empty()), Log: slog.New(slog.DiscardHandler),
		Metrics: db.NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	p := &Progress{listener: listener}
	snapshot, err := db.ParseSnapshot("10:12:10")
	if err != nil {
		t.Fatal(err)
	}
	wrong := errors.New("wrong")
	for _, step := range []struct {
		name string
		do   func()
		now  int
		want float64
	}{
		{"nothing ever happened", func() {}, 1000, 0},
		{"a hint waits", func() { p.waiting.add([]uint64{10}, at(1000)) }, 1003, 3},
		{"another behind it", func() { p.waiting.add([]uint64{11}, at(1002)) }, 1003, 3},
		{"the same again", func() { p.waiting.add([]uint64{10}, at(1003)) }, 1003, 3},
		{"an announcement is asked for", p.ask, 1004, 4},
		{"it fails, and a third comes", func() { p.waiting.add([]uint64{12}, at(1004)) }, 1005, 5},
		{"one of another gateway saw one", func() { p.sees(snapshot) }, 1005, 5},
		{"asked again", p.ask, 1006, 6},
		{"the announcement is complete", p.covered, 1006, 0},
		{"it is in the log, not read", func() { p.unread(at(1006)) }, 1008, 2},
		{"a part of it is read", func() { p.handOut(true) }, 1009, 3},
		{"and delivered", p.delivered, 1010, 4},
		{"the rest is read", func() { p.handOut(false) }, 1011, 5},
		{"the next is announced", func() { p.unread(at(1011)) }, 1012, 6},
		{"the first is delivered", p.delivered, 1012, 1},
		{"there was nothing to read", p.upToDate, 1013, 0},
		{"announcing worked", func() { p.announceResult(at(1013), nil) }, 1020, 0},
		{"it fails", func() { p.announceResult(at(1019), wrong) }, 1020, 7},
		{"it works", func() { p.announceResult(at(1020), nil) }, 1020, 0},
		{"reading worked, and fails", func() { p.feedResult(at(1021), nil); p.feedResult(at(1025), wrong) }, 1026, 5},
		{"it works", func() { p.feedResult(at(1026), nil) }, 1026, 0},
		{"the clock goes back", func() { p.unread(at(3000)) }, 2990, 0},
	} {
		step.do()
		if got := p.lag(at(step.now)).Seconds(); got != step.want {
			t.Errorf("%s: %v s, want %v", step.name, got, step.want)
		}
	}
}

// A gateway that cannot announce remembers a bounded number of hints, and since when they wait.
func TestHintsAreBounded(t *testing.T) {
	t.Parallel()
	var h hints
	start := time.Now()
	for xid := range uint64(hintsKept + 10) {
		h.add([]uint64{xid}, start.Add(time.Duration(xid)))
	}
	if len(h.xids) > hintsKept || h.more.IsZero() || !h.oldest().Equal(start) {
		t.Errorf("%d transactions, the oldest of %v ago", len(h.xids), start.Sub(h.oldest()))
	}
}

func TestWhyAGatewayIsNotReady(t *testing.T) {
	t.Parallel()
	listener, err := db.Listen(t.Context(), db.ListenerConfig{DatabaseURL: dbtest.New(t, dbtest.Empty()), Log: slog.New(slog.DiscardHandler),
		Metrics: db.NewMetrics(prometheus.NewRegistry())})
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(listener)
	mustSay := func(part string) {
		t.Helper()
		if err := p.Err(time.Minute); err == nil && part != "" || err != nil && (part == "" || !strings.Contains(err.Error(), part)) {
			t.Errorf("%v, want %q", err, part)
		}
	}
	mustSay("")
	p.announceResult(time.Now(), errors.New("for a moment"))
	mustSay("")
	p.announceResult(time.Now(), described("announce", event.ErrUnusable))
	mustSay("does not have")
	p.announceResult(time.Now(), nil)
	p.unread(time.Now().Add(-2 * time.Minute))
	mustSay("a change of 2m0s ago")
	p.feedResult(time.Now(), errors.New("cable cut"))
	mustSay("cable cut")
	p.feedResult(time.Now(), nil)
	p.upToDate()
	mustSay("")
	listener.Close()
	if p.Lag() == 0 {
		t.Error("LISTEN is down, and the lag is 0")
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	NewMetrics(registry)
	(&Progress{}).Register(prometheus.NewRegistry())
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

func TestWhatAnnounceGives(t *testing.T) {
	t.Parallel()
	polled := polled{isMine: true, left: 999 * time.Millisecond, recorded: 30, oldest: 40, next: 50}
	for more, want := range map[string]announcement{
		"t": {epoch: 7, lastSeq: 9, announced: 2, isMore: true, isFilled: true, polled: polled},
		"f": {epoch: 7, lastSeq: 9, announced: 2, isFilled: true, polled: polled},
		"":  {epoch: 7, lastSeq: 9, announced: 2, polled: polled}, // null
	} {
		if a, err := parseAnnouncement([]string{"7", "9", "2", more, "t", "999", "f", "30", "40", "50"}); err != nil || a != want {
			t.Errorf("%q: %+v, %v", more, a, err)
		}
	}
	for i, value := range []string{"x", "x", "x", "", "", "x", "", "x", "-1", "x"} {
		values := []string{"1", "1", "1", "t", "t", "1", "t", "1", "1", "1"}
		if values[i] = value; value == "" {
			values = values[:i]
		}
		if _, err := parseAnnouncement(values); err == nil {
			t.Errorf("%q was read", values)
		}
	}
}
