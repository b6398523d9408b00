package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestAWarningIsSaidOnceAMinute(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	now := time.Now()
	handler := onceAMinute(slog.NewTextHandler(&text, nil)).(repeats)
	handler.memory.now = func() time.Time { return now }
	log := slog.New(handler)
	for i := range 37 {
		log.Error("request failed", "op", "login", "conn", i, "err", errors.New("password authentication failed"))
		log.With("conn", i).Warn("listener cannot connect")
		log.Info("door")
	}
	log.Error("request failed", "op", "login", "err", errors.New("another"))
	log.Error("request failed", "op", "logout", "err", errors.New("password authentication failed"))
	if n := strings.Count(text.String(), "level=ERROR"); n != 3 {
		t.Errorf("%d errors in %s", n, &text)
	}
	if n := strings.Count(text.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings in %s", n, &text)
	}
	if n := strings.Count(text.String(), "msg=door"); n != 37 {
		t.Errorf("%d of 37 others", n)
	}
	text.Reset()
	now = now.Add(repeatEvery)
	log.Error("request failed", "op", "login", "err", errors.New("password authentication failed"))
	if !strings.Contains(text.String(), "repeated=36") {
		t.Errorf("a minute later: %s", &text)
	}
	for i := range 2 * repeatMost {
		log.Warn(fmt.Sprint("another ", i))
	}
	if n := len(handler.memory.seen); n > repeatMost {
		t.Errorf("%d texts remembered", n)
	}
	handler.WithGroup("g").Enabled(t.Context(), slog.LevelInfo)
}
