package bridge

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"terasocket/proto/opentera"
)

//go:embed sql/away.sql
var awaySQL string

var (
	errDeaf    = errors.New("OpenTera's user manager does not listen")
	errNotHeld = errors.New("the lease of the bridge is not renewed")
)

// signingKey is new at each start of OpenTera, and deleted when it stops.
const signingKey = "UserTokenAPIKey"

// manager is the state of OpenTera's user manager as we know it.
type manager struct {
	isUp       bool
	key        string    // signing key; "": OpenTera is not running, or Redis came back empty
	listened   time.Time // when it last listened
	probed     time.Time // last probe
	reconciled time.Time // last reconciliation; zero: due now
	everybody  bool      // telling failed: check everybody
	hasStopped bool      // OpenTera has deleted its key
}

// keep tells the user manager who connects and disconnects, and reconciles with it, until ctx ends or the bridge is lost.
func (r *reign) keep(ctx context.Context) error {
	for {
		err := r.turn(ctx)
		switch {
		case errors.Is(err, errLost):
			return err
		case err != nil && ctx.Err() == nil:
			r.everybody = true
			if !errors.Is(err, errDeaf) {
				r.Log.Warn("OpenTera's user manager is not told who is connected, trying again", "op", "presence", "err", err)
			}
			if !sleep(ctx, r.Probe/4) {
				return ctx.Err()
			}
		}
		if !sleep(ctx, r.Look) {
			return ctx.Err()
		}
	}
}

// turn does whatever is due.
func (r *reign) turn(ctx context.Context) error {
	select {
	case <-r.sub.broken:
		r.reconciled = time.Time{}
	default:
	}
	if time.Since(r.probed) >= r.Probe {
		if err := r.probe(ctx); err != nil {
			return err
		}
	}
	if !r.isUp {
		return nil
	}
	if time.Since(r.reconciled) >= r.Reconcile {
		return r.reconcile(ctx)
	}
	everybody := r.gap.Swap(false) || r.everybody
	r.everybody = false
	return r.tell(ctx, everybody)
}

// probe checks whether the user manager listens, and whether OpenTera has been restarted.
func (r *reign) probe(ctx context.Context) error {
	r.probed = time.Now()
	pipe := r.Redis.Pipeline()
	listeners, key := pipe.Publish(ctx, rpcTopic, ""), pipe.Get(ctx, signingKey)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		r.heardOf(false)
		return fmt.Errorf("ask Redis: %w", err)
	}
	if key.Val() != r.key {
		r.key, r.hasStopped, r.reconciled = key.Val(), key.Val() == "", time.Time{}
	}
	if r.heardOf(listeners.Val() > 0); r.isUp {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	if _, err := r.Pool.Exec(ctx, awaySQL, r.term, r.hasStopped || time.Since(r.listened) > r.Gone); lost(err) {
		return errLost
	} else if err != nil {
		return fmt.Errorf("the user manager is away: %w", err)
	}
	return nil
}

// heardOf records whether the user manager listens. If it does again, a reconciliation is due.
func (r *reign) heardOf(isUp bool) {
	if isUp {
		r.listened = time.Now()
	}
	if isUp == r.isUp {
		return
	}
	r.isUp, r.everybody = isUp, true
	if isUp {
		r.reconciled = time.Time{}
		r.Metrics.managerUp.Set(1)
		r.Log.Info("OpenTera's user manager listens", "op", "presence")
		return
	}
	r.Metrics.managerUp.Set(0)
	r.Log.Warn("OpenTera's user manager does not listen: who comes and goes is told when it does", "op", "presence")
}

// listens is a probe of the user manager alone.
func (r *reign) listens(ctx context.Context) error {
	n, err := r.Redis.Publish(ctx, rpcTopic, "").Result()
	if err != nil {
		r.heardOf(false)
		return fmt.Errorf("ask Redis: %w", err)
	}
	if r.heardOf(n > 0); n == 0 {
		return errDeaf
	}
	return nil
}

// reconcile compares the user manager's state with the database, and tells it what it lacks.
func (r *reign) reconcile(ctx context.Context) error {
	found, err := r.ask(ctx)
	r.reconciled = time.Now().Add(r.Probe - r.Reconcile) // if it fails; connects and disconnects are told meanwhile
	if err == nil {
		err = r.tell(ctx, true)
	}
	if err == nil {
		err = r.give(ctx, found.give)
	}
	if err != nil {
		r.Metrics.reconcileErrors.Inc()
		return err
	}
	r.reconciled = time.Now()
	r.Metrics.reconciled.Store(time.Now().UnixNano())
	r.Metrics.reconciliations.Inc()
	for of, n := range map[string]int{"online": found.people, "busy": found.sessions, "status": found.status} {
		r.Metrics.differences.WithLabelValues(of).Add(float64(n))
	}
	if found.people+found.sessions+found.status > 0 {
		r.Log.Info("differences with OpenTera's user manager are set right", "op", "reconcile", "online", found.people, "busy", found.sessions, "status", found.status)
	}
	return nil
}

// ask calls the methods of the user manager and waits for the comparison of its answers: without a limit once they have arrived.
// Meanwhile it is told nothing, since the answers would not know of it.
func (r *reign) ask(ctx context.Context) (reconciled, error) {
	calls, done, end := r.begin(r.sub.replies)
	defer end()
	pipe := r.Redis.Pipeline()
	for _, c := range calls {
		if err := queue(ctx, pipe, rpcTopic, c); err != nil {
			return reconciled{}, err
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return reconciled{}, fmt.Errorf("ask the user manager: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return reconciled{}, ctx.Err()
		case found := <-done:
			return found, found.err
		case <-time.After(r.Answer):
			if !r.stream.holds(r.sub.replies) && len(done) == 0 {
				return reconciled{}, errors.New("the user manager does not answer")
			}
		}
	}
}

// give sends the user manager the device statuses that it lacks.
func (r *reign) give(ctx context.Context, statuses []deviceStatus) error {
	if len(statuses) == 0 {
		return nil
	}
	pipe := r.Redis.Pipeline()
	for _, s := range statuses {
		text := func(v string) *opentera.Value {
			return &opentera.Value{ArgValue: &opentera.Value_StringValue{StringValue: v}}
		}
		if err := queue(ctx, pipe, rpcTopic, call("update_device_status", 0, r.sub.replies, text(s.UUID), text(s.Status),
			&opentera.Value{ArgValue: &opentera.Value_DoubleValue{DoubleValue: s.Timestamp}})); err != nil {
			return err
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("give statuses: %w", err)
	}
	return nil
}

// farewell reports the sockets that ended when the gateway stopped.
func (r *reign) farewell(ctx context.Context) error {
	for r.isUp {
		if n, err := r.tellSome(ctx, true); n == 0 || err != nil {
			return err
		}
	}
	return nil
}
