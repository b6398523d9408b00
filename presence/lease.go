package presence

import (
	"context"
	"fmt"
	"time"
)

// span is the time for which the lease has been held, by the database's clock, by which all leases expire. Our own clock stands still
// while the machine is suspended, and the database's may be set: the newest beat shows whether it has run ahead of ours.
type span struct {
	since, until time.Time
	beat         time.Time // database's time of the newest beat
	sent         time.Time // our time of sending it
}

// unbroken returns the interval, by the database's clock, in which the lease has been held for all of the preceding d; leeway: how far
// its clock may run ahead of ours.
func (s span) unbroken(now time.Time, d, leeway time.Duration) (from, until time.Time) {
	if until = s.beat.Add(now.Sub(s.sent) + leeway); until.After(s.until) {
		until = s.until
	}
	return s.since.Add(d), until
}

// renewed returns s after a beat that was sent at sent, executed at beat by the database's clock, and answered now.
func (s span) renewed(sent, beat, now time.Time, lease, leeway time.Duration) span {
	if !beat.Before(s.until) || beat.Sub(s.beat) > now.Sub(s.sent)+leeway {
		s.since = beat
	}
	return span{s.since, beat.Add(lease), beat, sent}
}

// promise is how long the database considers a beat valid: others need the time until their next sweep, and the sweep itself, to announce
// the clients of a dead gateway within the lease.
func (r *Registry) promise() time.Duration { return r.Lease - 2*min(r.Sweep, r.Lease/10) }

func (r *Registry) leeway() time.Duration { return r.Lease / 10 }

// Register takes a lease for this gateway. All existing sockets will be reported under it.
func (r *Registry) Register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	now := time.Now()
	var gateway string
	var beat time.Time
	if err := r.Pool.QueryRow(ctx, "SELECT clock_timestamp(), terasocket.gateway_register($1, $2, $3)::text", r.Name, r.promise(), r.PublicURL).Scan(&beat, &gateway); err != nil {
		return fmt.Errorf("register the gateway: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gateway, r.held = gateway, span{beat, beat.Add(r.promise()), beat, now}
	for s := range r.sockets {
		s.tried, s.told = false, false
		r.enqueue(s)
	}
	return nil
}

// Succeed takes the clients of the previous gateway at this host and address offline at once: it is dead, since the address is ours. Call
// it once, after Register.
func (r *Registry) Succeed(ctx context.Context) error {
	for n := 1; n > 0; {
		limit, cancel := context.WithTimeout(ctx, statementWait)
		err := r.Pool.QueryRow(limit, "SELECT terasocket.gateway_succeed($1::text::uuid)", r.registered()).Scan(&n)
		cancel()
		if err != nil {
			return fmt.Errorf("end the lease of the previous gateway at this address: %w", err)
		}
	}
	return nil
}

// beat renews the lease, or registers again.
func (r *Registry) beat(ctx context.Context) {
	r.beating.Lock()
	defer r.beating.Unlock()
	gateway := r.registered()
	if gateway == "" {
		return // handed over
	}
	limit, cancel := context.WithTimeout(ctx, r.Lease/3)
	defer cancel()
	sent := time.Now()
	var beat time.Time
	var kept bool
	err := r.Pool.QueryRow(limit, "SELECT clock_timestamp(), terasocket.gateway_beat($1::text::uuid, $2)", gateway, r.promise()).Scan(&beat, &kept)
	if err == nil && !kept {
		r.Log.Warn("the lease was lost: others declared this gateway dead; all its sockets are recorded again", "op", "lease")
		if err = r.Register(ctx); err == nil {
			return
		}
	}
	if err != nil {
		if ctx.Err() == nil {
			r.Log.Warn("lease not renewed, trying again", "op", "lease", "err", err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = r.held.renewed(sent, beat, time.Now(), r.promise(), r.leeway())
}

// sweep takes principals offline in the whole cluster.
func (r *Registry) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		from, until := r.held.unbroken(time.Now(), r.Lease, r.leeway())
		r.mu.Unlock()
		n, err := r.sweepOnce(ctx, from, until)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("presence not swept, trying again", "op", "sweep", "err", err)
		}
		if err != nil || n == 0 {
			return
		}
		r.Log.Debug("presence swept", "op", "sweep", "sockets", n)
	}
}

// sweepOnce sweeps once; it declares others dead only between from and until, by the database's clock.
func (r *Registry) sweepOnce(ctx context.Context, from, until time.Time) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	err = r.Pool.QueryRow(ctx, "SELECT terasocket.presence_sweep(clock_timestamp() BETWEEN $1 AND $2)", from, until).Scan(&n)
	return n, err
}

// leave releases the lease.
func (r *Registry) leave(ctx context.Context) error {
	r.beating.Lock()
	defer r.beating.Unlock()
	r.mu.Lock()
	gateway := r.gateway
	r.gateway = ""
	r.mu.Unlock()
	if gateway == "" {
		return nil
	}
	var gone bool
	err := r.Pool.QueryRow(ctx, "SELECT terasocket.gateway_leave($1::text::uuid)", gateway).Scan(&gone)
	if err != nil {
		return fmt.Errorf("give the lease back: %w", err)
	}
	if !gone {
		r.Log.Warn("the lease is kept until it expires: sockets are left under it, or it was lost", "op", "lease")
	}
	return nil
}
