package access

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// take takes a turn of that duration.
func (t *turns) take(ctx context.Context, address, username string, long time.Duration) error {
	done, err := t.wait(ctx, address, username)
	if err != nil {
		return err
	}
	defer done()
	time.Sleep(long)
	return nil
}

const oneTurn = 200 * time.Millisecond

// One host with a new username each time does not delay anybody else for long.
func TestOneHostLocksNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q turns
		ctx, end := context.WithCancel(t.Context())
		var attackers sync.WaitGroup
		for i := range 30 {
			attackers.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					if errors.Is(q.take(ctx, "192.0.2.66", fmt.Sprint(i, " ", n), oneTurn), ErrBusy) {
						time.Sleep(10 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(time.Second)
		for i := range 52 {
			began := time.Now()
			if err := q.take(t.Context(), fmt.Sprint("198.51.100.", i), fmt.Sprint("clinician ", i), oneTurn); err != nil {
				t.Errorf("login %d: %v", i, err)
			}
			if took := time.Since(began); took > 4*oneTurn {
				t.Errorf("login %d took %v", i, took)
			}
		}
		end()
		attackers.Wait()
		if len(q.address) != 0 || len(q.username) != 0 || q.isTaken {
			t.Errorf("%d addresses, %d usernames, a turn: %t are left", len(q.address), len(q.username), q.isTaken)
		}
	})
}

// Many hosts fill their own queue, not that of addresses with an earlier successful login.
func TestManyHostsLeaveWhoIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q turns
		q.welcome("198.51.100.1")
		q.welcome("") // not a known address
		ctx, end := context.WithCancel(t.Context())
		var attackers sync.WaitGroup
		for i := range 200 {
			attackers.Go(func() {
				for ctx.Err() == nil {
					if errors.Is(q.take(ctx, fmt.Sprint("192.0.2.", i), fmt.Sprint(i), oneTurn), ErrBusy) {
						time.Sleep(10 * time.Millisecond)
					}
				}
			})
		}
		time.Sleep(time.Second)
		if err := q.take(t.Context(), "203.0.113.9", "stranger", oneTurn); !errors.Is(err, ErrBusy) {
			t.Errorf("the queue of strangers is not full: %v", err)
		}
		var clinic sync.WaitGroup
		for i := range knownPlaces {
			clinic.Go(func() {
				began := time.Now()
				if err := q.take(t.Context(), "198.51.100.1", fmt.Sprint("clinician ", i), oneTurn); err != nil {
					t.Errorf("%d: %v", i, err)
				}
				if took := time.Since(began); took > 2*(knownPlaces+1)*oneTurn {
					t.Errorf("%d took %v", i, took)
				}
			})
		}
		clinic.Wait()
		end()
		attackers.Wait()
	})
}

func TestPlacesOfAUsername(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q turns
		var all sync.WaitGroup
		for i := range usernamePlaces {
			all.Go(func() {
				if err := q.take(t.Context(), fmt.Sprint(i), "paul", oneTurn); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := q.take(t.Context(), "9", "paul", oneTurn); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		if err := q.take(t.Context(), "9", "patricia", oneTurn); err != nil {
			t.Error(err)
		}
		all.Wait()
	})
}

// A caller that gives up while waiting, or at the moment of its turn, delays nobody.
func TestGivingUpATurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q turns
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*oneTurn)
				defer cancel()
				if err := q.take(ctx, fmt.Sprint(i), fmt.Sprint(i), 2*oneTurn); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if err := q.take(t.Context(), "a", "a", oneTurn); err != nil || len(q.address) != 0 {
			t.Errorf("%v, %d places taken", err, len(q.address))
		}
	})
}

func TestKnownAddressesAreForgotten(t *testing.T) {
	t.Parallel()
	var q turns
	for i := range 3*knownAddresses + 1 {
		q.welcome(fmt.Sprint(i))
	}
	if n := len(q.recent) + len(q.older); n > 2*knownAddresses || q.isKnown("0") || !q.isKnown(fmt.Sprint(3*knownAddresses)) {
		t.Errorf("%d are remembered", n)
	}
	(*Passwords)(nil).welcome(t.Context())
}
