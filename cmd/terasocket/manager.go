package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// manager notifies the systemd that started the process (Type=notify, WatchdogSec); without systemd it does nothing.
type manager struct {
	log   *slog.Logger
	alive func() // returns while the process is alive
	tell  func(state string) (bool, error)
}

func newManager(log *slog.Logger, alive func()) *manager {
	return &manager{log: log, alive: alive, tell: func(state string) (bool, error) { return daemon.SdNotify(false, state) }}
}

// ready reports that clients can connect.
func (m *manager) ready() { m.say(daemon.SdNotifyReady) }

func (m *manager) say(state string) {
	if _, err := m.tell(state); err != nil {
		m.log.Warn("systemd does not hear", "op", state, "err", err)
	}
}

// run notifies the watchdog twice per interval while the process is alive, and reports the stop when ctx ends. It runs until
// done is closed, so that a stop that hangs is found too.
func (m *manager) run(ctx context.Context, done <-chan struct{}) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("no watchdog", "err", err)
	}
	var tick <-chan time.Time
	if every > 0 {
		ticker := time.NewTicker(every / 2)
		defer ticker.Stop()
		tick = ticker.C
	}
	stopping := ctx.Done()
	for {
		select {
		case <-done:
			return
		case <-stopping:
			stopping = nil
			m.say(daemon.SdNotifyStopping)
		case <-tick:
			m.alive()
			m.say(daemon.SdNotifyWatchdog)
		}
	}
}

// watch starts run until the returned function is called, which waits for it.
func (m *manager) watch(ctx context.Context) (end func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); m.run(ctx, done) }()
	return func() { close(done); <-ended }
}
