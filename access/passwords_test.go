package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"terasocket/access"
	"terasocket/db/opentera"
)

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// someCost is high enough to measure, and far below PasswordCost, which takes four seconds under the race detector.
const (
	someCost      = 9
	someCostTakes = 10 * time.Millisecond // at least, on any machine
)

func TestPasswords(t *testing.T) {
	t.Parallel()
	p := access.NewPasswords(bcrypt.MinCost)
	hash := hashOf(t, "sésame")
	ident := func(name string) string { return "$" + name + hash[strings.Index(hash[1:], "$")+1:] }
	long := strings.Repeat("x", 72)
	for _, c := range []struct {
		hash, password string
		want           bool
	}{
		{hash, "sesame", false}, {hash, "sésame ", false}, {hash, "", false}, {hash, "sésame\x00", false}, {hash, hash, false},
		{hash, "sésame", true}, {ident("2a"), "sésame", true}, {ident("2b"), "sésame", true}, {ident("2y"), "sésame", true},
		{ident("2b"), "sesame", false}, {hash[:59], "sésame", false}, {hash[:59] + "\x00", "sésame", false},
		// only the first 72 bytes count, as in passlib
		{hashOf(t, long), long, true}, {hashOf(t, long), long + "y", true}, {hashOf(t, long), long + strings.Repeat("y", 1000), true},
		{hashOf(t, long), long[:71], false}, {hashOf(t, long), long[:71] + "yy", false},
		{hashOf(t, ""), "", true}, {hashOf(t, ""), "x", false},
		{opentera.DemoPasswordQuickHash, opentera.DemoPassword, true},
	} {
		if got, err := p.Match(t.Context(), c.hash, c.password); got != c.want || err != nil {
			t.Errorf("%.10s %.20q: %t, %v; want %t", c.hash, c.password, got, err, c.want)
		}
	}
}

// An invalid hash matches nothing, and takes no less time.
func TestPasswordsWithoutAHash(t *testing.T) {
	t.Parallel()
	p := access.NewPasswords(someCost)
	for _, g := range []string{"", "$1$" + hashOf(t, "x")[3:]} {
		start := time.Now()
		if got, err := p.Match(t.Context(), g, "nobody's password"); got || err != nil {
			t.Errorf("%q: %t, %v", g, got, err)
		}
		// only the lower bound is certain
		if took := time.Since(start); took < someCostTakes {
			t.Errorf("%q is answered after %v, sooner than a password", g, took)
		}
	}
}

// Comparisons wait for each other; too many are turned away, and a caller that gives up leaves the queue.
func TestPasswordsAreBusy(t *testing.T) {
	t.Parallel()
	p := access.NewPasswords(bcrypt.MinCost)
	ctx, cancel := context.WithCancel(t.Context())
	type answer struct {
		matches bool
		err     error
	}
	const all = 60
	answers := make(chan answer, all)
	slow := strings.Replace(opentera.DemoPasswordQuickHash, "$2b$04$", "$2b$10$", 1) // an unmatched hash that takes time
	for range all {
		go func() {
			matches, err := p.Match(ctx, slow, "x")
			answers <- answer{matches, err}
		}()
	}
	busy, gaveUp, wrong := 0, 0, 0
	for range all {
		a := <-answers
		switch {
		case errors.Is(a.err, access.ErrBusy):
			if busy++; busy == all/2 {
				cancel()
			}
		case errors.Is(a.err, context.Canceled):
			gaveUp++
		case a.err == nil && !a.matches:
			wrong++
		default:
			t.Errorf("%+v", a)
		}
	}
	if busy < all/2 || gaveUp == 0 || wrong == 0 {
		t.Errorf("%d busy, %d gave up, %d compared", busy, gaveUp, wrong)
	}
	cancel()
	if got, err := p.Match(t.Context(), opentera.DemoPasswordQuickHash, opentera.DemoPassword); !got || err != nil {
		t.Errorf("after the storm: %t, %v", got, err)
	}
}
