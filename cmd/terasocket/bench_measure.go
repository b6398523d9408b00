package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"terasocket/cmd/terasocket/load"
)

// subject is the server being measured.
type subject struct {
	address  string
	targets  func(ctx context.Context, from, n int) ([]string, error) // paths to connect to
	change   func(ctx context.Context, due <-chan int, committed func(event int, at time.Time)) error
	pid      int
	postgres int // pid of the postmaster; 0: none
	say      func(format string, args ...any)
}

// benchFigures describes one server. Times are in milliseconds.
type benchFigures struct {
	ConnectsPerSecond   float64 `json:"connects_per_second"`
	ConnectCPU          float64 `json:"connect_cpu_ms"`                        // of the server, per client, until all presence events are delivered
	ConnectPostgresCPU  float64 `json:"connect_postgresql_cpu_ms"`             // of PostgreSQL, likewise, including the token
	ConnectFrames       int     `json:"connect_frames"`                        // delivered to all clients meanwhile
	BytesPerIdleClient  int64   `json:"bytes_per_idle_client"`                 // resident memory
	IdleCPU             float64 `json:"idle_cpu_percent,omitempty"`            // of one core, while only pings happen
	IdlePostgresCPU     float64 `json:"idle_postgresql_cpu_percent,omitempty"` // of PostgreSQL, likewise
	Events              int     `json:"events"`
	Deliveries          int     `json:"deliveries"`
	Missing             int     `json:"missing"` // over all clients and events
	DeliveriesPerSecond float64 `json:"deliveries_per_second"`
	LastMedian          float64 `json:"last_client_median_ms"` // from COMMIT until the last client has it
	LastP99             float64 `json:"last_client_p99_ms"`
	EachMedian          float64 `json:"each_client_median_ms"`
	EachP99             float64 `json:"each_client_p99_ms"`
	CPUPerMillion       float64 `json:"cpu_seconds_per_million_deliveries"`
	PostgresPerEvent    float64 `json:"postgresql_cpu_ms_per_event"` // the writer's backend included
	FrameBytes          int     `json:"frame_bytes"`
}

// benchResult is the output of `terasocket bench --json`.
type benchResult struct {
	Clients   int           `json:"clients"`
	Users     int           `json:"users"`
	People    int           `json:"people"`
	Rate      float64       `json:"rate"`
	Seconds   float64       `json:"seconds"`
	Encoding  string        `json:"encoding"`
	Storm     float64       `json:"storm_seconds,omitempty"` // duration in which clients connected while the events were made
	Gateway   *benchFigures `json:"gateway"`
	Reference *benchFigures `json:"reference,omitempty"`
}

const (
	connectedAtOnce = 1000 // tokens are valid for 60 s
	quietFor        = time.Second
	benchPatience   = 2 * time.Minute // for outstanding frames
)

// measure connects to a server, makes events, and waits until all clients have them.
func (c *benchCmd) measure(ctx context.Context, s subject) (_ *benchFigures, err error) {
	clients, err := load.NewClients()
	if err != nil {
		return nil, fmt.Errorf("bench: %w: it needs Linux", err)
	}
	reading, stop := context.WithCancel(ctx)
	group, reading := errgroup.WithContext(reading)
	group.Go(func() error { return clients.Run(reading) })
	defer func() {
		stop()
		err = errors.Join(err, group.Wait())
		clients.Close()
	}()

	var f benchFigures
	usage := func() (server, postgres load.Usage, err error) {
		if server, err = load.UsageOf(s.pid, false); err == nil && s.postgres != 0 {
			postgres, err = load.UsageOf(s.postgres, true)
		}
		return server, postgres, err
	}
	before, postgresBefore, err := usage()
	if err != nil {
		return nil, err
	}
	var committed map[int]time.Time
	var arrivals []load.Arrival
	began := time.Now()
	if c.Storm > 0 {
		s.say("Connecting %d sockets in %s, and making %g events a second meanwhile", c.Clients, c.Storm, c.Rate)
		if committed, arrivals, err = c.storm(reading, clients, s); err != nil {
			return nil, err
		}
	} else {
		connecting, err := c.connect(reading, clients, s)
		if err != nil {
			return nil, err
		}
		f.ConnectsPerSecond = float64(c.Clients) / connecting.Seconds()
	}
	if err := settle(reading, clients, s.say); err != nil {
		return nil, err
	}
	serverBefore, postgresIdle, err := usage()
	if err != nil {
		return nil, err
	}
	_, _, f.ConnectFrames = clients.Count()
	f.ConnectCPU = (serverBefore.CPU - before.CPU).Seconds() * 1000 / float64(c.Clients)
	f.ConnectPostgresCPU = (postgresIdle.CPU - postgresBefore.CPU).Seconds() * 1000 / float64(c.Clients)
	f.BytesPerIdleClient = (serverBefore.Resident - before.Resident) / int64(c.Clients)
	if c.Idle > 0 {
		s.say("Leaving the sockets alone for %s", c.Idle)
		if err := pause(reading, c.Idle); err != nil {
			return nil, err
		}
		server, postgres, err := usage()
		if err != nil {
			return nil, err
		}
		f.IdleCPU = 100 * (server.CPU - serverBefore.CPU).Seconds() / c.Idle.Seconds()
		f.IdlePostgresCPU = 100 * (postgres.CPU - postgresIdle.CPU).Seconds() / c.Idle.Seconds()
		serverBefore, postgresIdle = server, postgres
	}
	postgresBefore = postgresIdle
	if c.Storm > 0 {
		f.Events, f.Deliveries, f.FrameBytes = len(committed), len(arrivals), clients.FrameBytes()
		f.latencies(committed, arrivals, began)
		return &f, nil
	}

	s.say("Making %g events a second for %s", c.Rate, c.Duration)
	began = time.Now()
	if committed, arrivals, err = c.drive(reading, clients, s); err != nil {
		return nil, err
	}
	server, postgres, err := usage()
	if err != nil {
		return nil, err
	}
	if _, closed, _ := clients.Count(); closed > 0 {
		s.say("%d sockets were closed by the server: it could not keep up", closed)
	}
	f.Events, f.Deliveries = len(committed), len(arrivals)
	f.Missing = c.Clients*len(committed) - len(arrivals)
	f.latencies(committed, arrivals, began)
	if len(arrivals) > 0 {
		f.CPUPerMillion = (server.CPU - serverBefore.CPU).Seconds() / float64(len(arrivals)) * 1e6
	}
	f.PostgresPerEvent = (postgres.CPU - postgresBefore.CPU).Seconds() * 1000 / float64(len(committed))
	f.FrameBytes = clients.FrameBytes()
	return &f, nil
}

// connect opens all sockets and returns how long that took, without creating the tokens.
func (c *benchCmd) connect(ctx context.Context, clients *load.Clients, s subject) (took time.Duration, err error) {
	for from := 0; from < c.Clients; from += connectedAtOnce {
		targets, err := s.targets(ctx, from, min(connectedAtOnce, c.Clients-from))
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := clients.Connect(ctx, s.address, targets); err != nil {
			return 0, err
		}
		took += time.Since(began)
	}
	return took, nil
}

// storm opens all sockets within c.Storm and makes events meanwhile.
func (c *benchCmd) storm(ctx context.Context, clients *load.Clients, s subject) (committed map[int]time.Time, arrivals []load.Arrival, err error) {
	targets, err := s.targets(ctx, 0, c.Clients)
	if err != nil {
		return nil, nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		const parts = 100
		for i, began := 0, time.Now(); i < parts; i++ {
			if err := pause(ctx, time.Until(began.Add(c.Storm*time.Duration(i)/parts))); err != nil {
				return err
			}
			part := targets[len(targets)*i/parts : len(targets)*(i+1)/parts]
			group.Go(func() error { return clients.Connect(ctx, s.address, part) })
		}
		return nil
	})
	group.Go(func() (err error) {
		committed, arrivals, err = c.drive(ctx, clients, s)
		return err
	})
	return committed, arrivals, group.Wait()
}

// settle waits until the frames stop: those of everybody's presence.
func settle(ctx context.Context, clients *load.Clients, say func(string, ...any)) error {
	_, _, frames := clients.Count()
	for since, told := time.Now(), false; time.Since(since) < quietFor; {
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		_, closed, now := clients.Count()
		if closed > 0 {
			return fmt.Errorf("%d sockets were closed while they connected", closed)
		}
		if now != frames {
			since, frames = time.Now(), now
			if !told && frames > 100_000 {
				say("Waiting until everybody has heard who is online")
				told = true
			}
		}
	}
	clients.Arrivals()
	return nil
}

// drive makes the events when due, and returns when each was committed and when it arrived.
func (c *benchCmd) drive(ctx context.Context, clients *load.Clients, s subject) (committed map[int]time.Time, arrivals []load.Arrival, err error) {
	n := int(c.Rate * c.Duration.Seconds())
	due := make(chan int, n)
	var mu sync.Mutex
	committed = make(map[int]time.Time, n)
	group, driving := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(due)
		for i, began := 1, time.Now(); i <= n; i++ {
			at := began.Add(time.Duration(float64(i-1) / c.Rate * float64(time.Second)))
			if err := pause(driving, time.Until(at)); err != nil {
				return err
			}
			due <- i
		}
		return nil
	})
	group.Go(func() error {
		return s.change(driving, due, func(event int, at time.Time) {
			mu.Lock()
			defer mu.Unlock()
			committed[event] = at
		})
	})
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	idle := 10 * time.Second
	if c.Storm > 0 { // it is not known who should have received what
		idle = 2 * time.Second
	}
	for end := time.Now().Add(benchPatience); ; {
		was := len(arrivals)
		arrivals = append(arrivals, clients.Arrivals()...)
		if open, _, _ := clients.Count(); len(arrivals) >= c.Clients*n || open == 0 || time.Now().After(end) {
			return committed, arrivals, nil
		}
		if len(arrivals) > was {
			end = time.Now().Add(idle)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
}

// latencies computes times and the delivery rate.
func (f *benchFigures) latencies(committed map[int]time.Time, arrivals []load.Arrival, began time.Time) {
	if len(arrivals) == 0 {
		return
	}
	last, end := make(map[int]time.Duration, len(committed)), began
	each := make([]time.Duration, len(arrivals))
	for i, a := range arrivals {
		each[i] = max(0, a.At.Sub(committed[a.Event]))
		last[a.Event] = max(last[a.Event], each[i])
		if a.At.After(end) {
			end = a.At
		}
	}
	lasts := make([]time.Duration, 0, len(last))
	for _, d := range last {
		lasts = append(lasts, d)
	}
	slices.Sort(each)
	slices.Sort(lasts)
	f.EachMedian, f.EachP99 = quantile(each, .5), quantile(each, .99)
	f.LastMedian, f.LastP99 = quantile(lasts, .5), quantile(lasts, .99)
	f.DeliveriesPerSecond = float64(len(arrivals)) / end.Sub(began).Seconds()
}

// quantile of a sorted, non-empty list, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	return float64(sorted[int(q*float64(len(sorted)-1)+.5)].Microseconds()) / 1000
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}

// print writes the table for people.
func (r *benchResult) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name string, value func(f *benchFigures) string) {
		_, _ = fmt.Fprintf(t, "%-44s\t%s\t", name, value(r.Gateway))
		if r.Reference != nil {
			_, _ = fmt.Fprintf(t, "%s\t", value(r.Reference))
		}
		_, _ = fmt.Fprintln(t)
	}
	number := func(format string, of func(f *benchFigures) any) func(*benchFigures) string {
		return func(f *benchFigures) string { return fmt.Sprintf(format, of(f)) }
	}
	_, _ = fmt.Fprintf(w, "%d clients of %d users, %d more people, %g events a second for %g s, %s frames of %d bytes\n\n",
		r.Clients, r.Users, r.People, r.Rate, r.Seconds, r.Encoding, r.Gateway.FrameBytes)
	if r.Reference != nil {
		_, _ = fmt.Fprintf(t, "%-44s\tterasocket\tbare loop\t\n", "")
	}
	row("commit to the last client, median (ms)", number("%.1f", func(f *benchFigures) any { return f.LastMedian }))
	row("commit to the last client, p99 (ms)", number("%.1f", func(f *benchFigures) any { return f.LastP99 }))
	row("commit to each client, median (ms)", number("%.1f", func(f *benchFigures) any { return f.EachMedian }))
	row("commit to each client, p99 (ms)", number("%.1f", func(f *benchFigures) any { return f.EachP99 }))
	row("deliveries a second", number("%.0f", func(f *benchFigures) any { return f.DeliveriesPerSecond }))
	if r.Storm == 0 {
		row("deliveries missing", number("%d", func(f *benchFigures) any { return f.Missing }))
		row("server CPU per 1,000,000 deliveries (s)", number("%.1f", func(f *benchFigures) any { return f.CPUPerMillion }))
		row("PostgreSQL CPU per event (ms)", number("%.2f", func(f *benchFigures) any { return f.PostgresPerEvent }))
		row("connections a second", number("%.0f", func(f *benchFigures) any { return f.ConnectsPerSecond }))
	}
	row("memory per idle client (bytes)", number("%d", func(f *benchFigures) any { return f.BytesPerIdleClient }))
	if r.Gateway.IdleCPU > 0 {
		row("server CPU while idle (% of a core)", number("%.1f", func(f *benchFigures) any { return f.IdleCPU }))
		row("PostgreSQL CPU while idle (% of a core)", number("%.1f", func(f *benchFigures) any { return f.IdlePostgresCPU }))
	}
	row("server CPU per connection (ms)", number("%.2f", func(f *benchFigures) any { return f.ConnectCPU }))
	row("PostgreSQL CPU per connection (ms)", number("%.2f", func(f *benchFigures) any { return f.ConnectPostgresCPU }))
	row("frames heard of who came", number("%d", func(f *benchFigures) any { return f.ConnectFrames }))
	return t.Flush()
}
