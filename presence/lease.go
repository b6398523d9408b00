package presence

import (
	"context"
	"fmt"
	"time"
)

// span is for how long the lease has been held, by our own clock.
type span struct{ since, until time.Time }

// unbroken says whether the lease was held at now, and all the time d before.
func (s span) unbroken(now time.Time, d time.Duration) bool {
	return now.Before(s.until) && now.Sub(s.since) >= d
}

// renewed is s after a beat that was sent at now.
func (s span) renewed(now time.Time, lease time.Duration) span {
	if !now.Before(s.until) {
		s.since = now
	}
	s.until = now.Add(lease)
	return s
}

// promise is for how long a beat is good in the database: others need until their next sweep, and for that itself, to
// announce the clients of a dead gateway within the lease.
func (r *Registry) promise() time.Duration { return r.Lease - 2*min(r.Sweep, r.Lease/10) }

// Register takes a lease for this gateway. All sockets there are will be told of under it.
func (r *Registry) Register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	now := time.Now()
	var gateway string
	if err := r.Pool.QueryRow(ctx, "SELECT terasocket.gateway_register($1, $2)::text", r.Name, r.promise()).Scan(&gateway); err != nil {
		return fmt.Errorf("register the gateway: %w", err)
	}
	if _, err := r.Pool.Exec(ctx, "SELECT terasocket.gateway_serves($1::text::uuid, $2)", gateway, r.PublicURL); err != nil { // older functions have none
		r.Log.Debug("terasocket doctor will not know what address logins give", "op", "lease", "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gateway, r.held = gateway, span{now, now.Add(r.promise())}
	for s := range r.sockets {
		s.tried, s.told = false, false
		r.enqueue(s)
	}
	return nil
}

// Succeed takes the clients of whoever had this gateway's host and address before it offline, at once: it is dead, since the
// address is ours. Call it once, after Register.
func (r *Registry) Succeed(ctx context.Context) error {
	for n := 1; n > 0; {
		limit, cancel := context.WithTimeout(ctx, statementWait)
		err := r.Pool.QueryRow(limit, "SELECT terasocket.gateway_succeed($1::text::uuid)", r.registered()).Scan(&n)
		cancel()
		if err != nil {
			return fmt.Errorf("end the lease of the gateway that was here before: %w", err)
		}
	}
	return nil
}

// beat renews the lease, or takes a new one.
func (r *Registry) beat(ctx context.Context) {
	r.beating.Lock()
	defer r.beating.Unlock()
	gateway := r.registered()
	if gateway == "" {
		return // handed over
	}
	limit, cancel := context.WithTimeout(ctx, r.Lease/3)
	defer cancel()
	now := time.Now()
	var kept bool
	err := r.Pool.QueryRow(limit, "SELECT terasocket.gateway_beat($1::text::uuid, $2)", gateway, r.promise()).Scan(&kept)
	if err == nil && !kept {
		r.Log.Warn("the lease was lost: others took this gateway for dead; all its sockets are announced again", "op", "lease")
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
	r.held = r.held.renewed(now, r.promise())
}

// sweep takes offline who is to be, in the whole cluster.
func (r *Registry) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		r.mu.Lock()
		theDead := r.held.unbroken(time.Now(), r.Lease)
		r.mu.Unlock()
		n, err := r.sweepOnce(ctx, theDead)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("presence not swept, trying again", "op", "sweep", "err", err)
		}
		if err != nil || n == 0 {
			return
		}
		r.Log.Debug("presence swept", "op", "sweep", "sockets", n)
	}
}

func (r *Registry) sweepOnce(ctx context.Context, theDead bool) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementWait)
	defer cancel()
	err = r.Pool.QueryRow(ctx, "SELECT terasocket.presence_sweep($1)", theDead).Scan(&n)
	return n, err
}

// leave gives the lease back.
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
		r.Log.Warn("the lease stays until it runs out: sockets are left under it, or it was lost", "op", "lease")
	}
	return nil
}
