package access_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// At the limit the right password is refused too, whether the username exists or not, until 120 s after the last failure.
func TestPasswordLimit(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d := gateways[0]
	for kind, p := range passwordKinds {
		for _, username := range []string{p.username, "nobody.there"} {
			for i := range 5 {
				_, err := gateways[i%2].byPassword(kind, username, "wrong")
				if !errors.Is(err, access.ErrUnauthorized) {
					t.Errorf("%s %s: attempt %d: %v", kind, username, i+1, err)
				}
			}
			d.do("UPDATE terasocket.login_attempts SET expires_at = expires_at - interval '60 s' WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(username))
			for i := range 3 {
				_, err := gateways[i%2].byPassword(kind, username, opentera.DemoPassword)
				mustWait(t, kind.String()+" "+username, err, 30*time.Second, 60*time.Second) // a refusal does not restart it
				tooMany := (*access.TooMany)(nil)
				if errors.As(err, &tooMany) && (username == p.username) != (tooMany.Who.UUID == p.uuid) {
					t.Errorf("%s %s: the audit gets %+v", kind, username, tooMany.Who)
				}
			}
		}
		// others, and the other kind, are not affected
		if _, err := d.byPassword(kind, p.other, opentera.DemoPassword); err != nil {
			t.Errorf("%s %s: %v", kind, p.other, err)
		}
		d.do("UPDATE terasocket.login_attempts SET expires_at = clock_timestamp() - interval '1 ms'")
		if id, err := d.byPassword(kind, p.username, opentera.DemoPassword); err != nil || id.UUID != p.uuid {
			t.Errorf("%s: after the time: %v", kind, err)
		}
		for i := range 4 {
			if _, err := d.byPassword(kind, p.username, "wrong"); !errors.Is(err, access.ErrUnauthorized) {
				t.Errorf("%s: attempt %d of a new count: %v", kind, i+1, err)
			}
		}
		if _, err := d.byPassword(kind, p.username, opentera.DemoPassword); err != nil {
			t.Errorf("%s: after four failures: %v", kind, err)
		}
	}
}

// Each failure restarts the time.
func TestEachFailureRestartsTheTime(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	left := func() float64 {
		return asked[float64](d, "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM terasocket.login_attempts")
	}
	for range 3 {
		_, _ = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, "wrong")
		if s := left(); s < 110 || s > 120 {
			t.Errorf("%v s left, want 120", s)
		}
		d.do("UPDATE terasocket.login_attempts SET expires_at = expires_at - interval '100 s'")
	}
}

// untilNotBusy retries while too many passwords are being checked.
func (d *door) untilNotBusy(username, password string) error {
	for {
		if _, err := d.users.ByPassword(d.Context(), username, password); !errors.Is(err, access.ErrBusy) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// Of fifty concurrent wrong guesses on two gateways, five are compared.
func TestWrongGuessesAtOnce(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	for _, username := range []string{opentera.DemoProjectUser, "nobody.there"} {
		var compared, refused atomic.Int32
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				err := gateways[i%2].untilNotBusy(username, fmt.Sprint("guess ", i))
				var tooMany *access.TooMany
				switch {
				case errors.Is(err, access.ErrUnauthorized):
					compared.Add(1)
				case errors.As(err, &tooMany):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		all.Wait()
		if compared.Load() != 5 || refused.Load() != 45 {
			t.Errorf("%s: %d compared, %d refused; want 5 and 45", username, compared.Load(), refused.Load())
		}
	}
}

// Concurrent correct logins of one user all succeed.
func TestRightLoginsAtOnce(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if err := gateways[i%2].untilNotBusy(opentera.DemoProjectUser, opentera.DemoPassword); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := asked[int](gateways[0], "SELECT count(*) FROM terasocket.login_attempts"); n != 0 {
		t.Errorf("%d counters are left", n)
	}
}

// A client that disconnects during the comparison has used an attempt: otherwise it could guess without being counted.
func TestAGuessWhoseClientLeavesIsCounted(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.users.Passwords = access.NewPasswords(someCost)
	for i := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { // an unknown username costs a comparison too
			_, err := d.users.ByPassword(ctx, "nobody.there", "wrong")
			ended <- err
		}()
		dbtest.Eventually(t, "it is counted", func() bool {
			return asked[int](d, "SELECT coalesce(max(attempts), 0) FROM terasocket.login_attempts") > i
		})
		cancel()
		<-ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.users.ByPassword(ctx, "nobody.there", "wrong"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if n := asked[int](d, "SELECT sum(attempts) FROM terasocket.login_attempts"); n != 2 {
		t.Errorf("%d attempts are counted, want 2", n)
	}
}

// A stalled database holds the turn for a bounded time, and results in an error, not a refusal.
func TestAStallIsBounded(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, "wrong")
	lock, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.Background()) }()
	dbtest.Exec(t, lock, "LOCK TABLE terasocket.login_attempts")
	start := time.Now()
	_, err = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, opentera.DemoPassword)
	if err == nil || errors.Is(err, access.ErrUnauthorized) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.users.ByPassword(t.Context(), opentera.DemoProjectUser, opentera.DemoPassword); err != nil {
		t.Errorf("after the stall: %v", err)
	}
}
