package bridge

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The interval of checks, and the limit of the first one.
const (
	healthEvery  = time.Second
	startTimeout = 3 * time.Second
)

// Health checks whether Redis answers. All methods are safe for concurrent use.
type Health struct {
	client *redis.Client
	log    *slog.Logger

	mu    sync.Mutex
	err   error     // why Redis cannot be used; nil: it can
	since time.Time // since when
}

// NewHealth does not check yet.
func NewHealth(client *redis.Client, log *slog.Logger) *Health {
	return &Health{client: client, log: log, since: time.Now()}
}

// Start makes the first check. Errors: those that waiting does not fix, see Check.
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

// Run checks every second until ctx ends and logs when the result changes. It returns nil.
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
			ask = Check // it may be another server now
		}
		limited, cancel := context.WithTimeout(ctx, commandTimeout)
		err := ask(limited, h.client)
		cancel()
		if ctx.Err() == nil {
			h.is(err, time.Now())
		}
	}
}

// Err returns why Redis cannot be used, as of the last second or two; nil: it can.
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
