package bridge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// How often Redis is asked, and how long a start waits for it.
const (
	healthEvery  = time.Second
	startTimeout = 3 * time.Second
)

// Health knows whether Redis answers. All methods may be called at once.
type Health struct {
	client *redis.Client
	log    *slog.Logger

	mu    sync.Mutex
	err   error     // why it cannot be worked with; nil: it can
	since time.Time // when that began
}

// NewHealth asks nothing yet.
func NewHealth(client *redis.Client, log *slog.Logger) *Health {
	return &Health{client: client, log: log, since: time.Now()}
}

// Start asks for the first time. Errors: what waiting does not mend, see Check.
func (h *Health) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := Check(ctx, h.client)
	if isSetting(err) {
		return err
	}
	h.is(err, time.Now())
	return nil
}

// Run asks every second until ctx ends, and logs when the answer changes. It returns nil.
func (h *Health) Run(ctx context.Context) error {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		ask := Ping
		if h.Err() != nil {
			ask = Check // it may be another now
		}
		limited, cancel := context.WithTimeout(ctx, commandTimeout)
		err := ask(limited, h.client)
		cancel()
		if ctx.Err() == nil {
			h.is(err, time.Now())
		}
	}
}

// Err says why Redis cannot be worked with, as of the last second or two; nil: it can.
func (h *Health) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

func (h *Health) is(err error, at time.Time) {
	h.mu.Lock()
	was, since := h.err, h.since
	h.err = err
	if (was == nil) != (err == nil) {
		h.since = at
	}
	h.mu.Unlock()
	switch {
	case err != nil && (was == nil || isSetting(err) && !isSetting(was)):
		h.log.Warn("OpenTera's Redis cannot be worked with: sockets stay and hear the database, websocket URLs of OpenTera's login are refused", "op", "redis", "err", err)
	case was != nil && err == nil:
		h.log.Info("OpenTera's Redis can be worked with again", "op", "redis", "seconds", int(at.Sub(since).Seconds()))
	}
}
