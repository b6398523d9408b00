package console

import (
	"fmt"
	"testing"
	"time"
)

// Guesses from many addresses give no new tries to those that have used theirs up. While all remembered addresses count, no other may try.
func TestTriesAreRememberedOrRefused(t *testing.T) {
	t.Parallel()
	var d door
	now := time.Now()
	for range wrongAtOnce {
		if d.try("192.0.2.1", now) != 0 {
			t.Fatal("held up too soon")
		}
	}
	for n := range 2 * mostAddresses {
		if wait, isFull := d.try(fmt.Sprintf("2001:db8:0:%x::1", n), now), n >= mostAddresses-1; (wait == wrongEvery) != isFull {
			t.Fatalf("address %d waits for %v", n, wait)
		}
	}
	if len(d.tries) != mostAddresses || d.try("192.0.2.1", now) == 0 {
		t.Errorf("%d are remembered", len(d.tries))
	}
	if d.try("2001:db8::1", now) != 0 {
		t.Error("one that is remembered, with tries left, is held up")
	}
	if d.try("192.0.2.9", now.Add(wrongEvery)) != 0 || len(d.tries) > 3 {
		t.Errorf("%d are remembered when their time is over", len(d.tries))
	}
}

func TestAnAddressIsNewOnceAnHour(t *testing.T) {
	t.Parallel()
	var d door
	now := time.Now()
	for _, c := range []struct {
		addr  string
		after time.Duration
		want  bool
	}{{"a", 0, true}, {"a", time.Minute, false}, {"b", time.Minute, true}, {"a", basicEvery, true}, {"a", basicEvery + time.Minute, false}} {
		if d.isNew(c.addr, now.Add(c.after)) != c.want {
			t.Errorf("%+v", c)
		}
	}
	for n := range 3 * mostAddresses {
		d.isNew(fmt.Sprint(n), now)
	}
	if len(d.basic) > mostAddresses {
		t.Errorf("%d are remembered", len(d.basic))
	}
}
