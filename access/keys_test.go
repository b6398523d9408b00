package access_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/opentera"
)

// A token signed before a rotation is valid for the overlap and no longer, on all gateways.
func TestRotation(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	d, other := gateways[0], gateways[1]
	services := &access.Services{Pool: other.pool}
	service := func(key string) string {
		return signed(t, jwt.SigningMethodHS256, []byte(key), jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID})
	}
	check := func(what, name, token string, isGood bool) {
		t.Helper()
		var err error
		switch name {
		case "user":
			_, err = other.byToken(access.User, token)
		case "participant":
			_, err = other.byToken(access.Participant, token)
		case "service":
			_, err = services.Service(t.Context(), token)
		}
		if isGood != (err == nil) || err != nil && !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("%s %s: %v", name, what, err)
		}
	}
	makes := map[string]func() string{
		"user":        func() string { return d.tokenOf(access.User, opentera.DemoProjectUserID) },
		"participant": func() string { return d.tokenOf(access.Participant, opentera.DemoParticipantID) },
		"service":     func() string { return service(asked[string](d, "SELECT terasocket.service_token_key()")) },
	}
	for name, make := range makes {
		rotate := func(overlap time.Duration) {
			t.Helper()
			if err := d.users.Keys.Rotate(t.Context(), name, overlap); err != nil {
				t.Fatal(err)
			}
		}
		d.do("SELECT terasocket.sweep_door()") // leftovers of the previous name
		oldest := make()
		key := d.key(name)
		check("at first", name, oldest, true)
		rotate(time.Hour)
		if d.key(name) == key {
			t.Errorf("%s: the key is still the same", name)
		}
		old := make()
		check("within the overlap", name, oldest, true)
		check("with the new key", name, old, true)
		rotate(2 * time.Hour)
		newest := make()
		check("two before", name, oldest, true)
		// the overlap of the second rotation has not extended that of the first
		if n := asked[int](d, "SELECT count(*) FROM terasocket.signing_keys WHERE name = $1 AND retires_at <= clock_timestamp() + interval '1 hour'", name); n != 1 {
			t.Errorf("%s: %d keys retire within the hour, want 1", name, n)
		}
		d.do("UPDATE terasocket.signing_keys SET retires_at = retires_at - interval '1 hour' WHERE name = $1", name)
		check("rotated out", name, oldest, false)
		check("one before", name, old, true)
		if n, err := (&access.Tokens{Pool: d.pool}).Sweep(t.Context()); n != 1 || err != nil {
			t.Errorf("%s: %d keys swept, %v", name, n, err)
		}
		check("one before, after the sweep", name, old, true)
		rotate(0)
		check("without overlap", name, old, false)
		check("without overlap", name, newest, false)
		check("the newest", name, make(), true)
		if name != "service" { // nor can a token be refreshed after its key has gone
			kind, _ := access.ParseKind(name)
			var refusal *access.Refusal
			if err := d.disable(kind, newest); !errors.As(err, &refusal) {
				t.Errorf("%s: a token without a key was disabled: %v", name, err)
			}
		}
	}
	keys, err := other.users.Keys.List(t.Context())
	if err != nil || len(keys) != 3 {
		t.Fatalf("%+v, %v", keys, err)
	}
	for i, k := range keys {
		if k.Name != []string{"participant", "service", "user"}[i] || k.RetiresAt != nil || time.Since(k.CreatedAt) > time.Minute {
			t.Errorf("%+v", k)
		}
	}
	for name, err := range map[string]error{
		"unknown name": d.users.Keys.Rotate(t.Context(), "device", time.Hour), "negative": d.users.Keys.Rotate(t.Context(), "user", -1),
		"long": d.users.Keys.Rotate(t.Context(), "user", 91*24*time.Hour),
	} {
		if err == nil {
			t.Errorf("%s: rotated", name)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.users.Keys.Rotate(ended, "user", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := d.users.Keys.List(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Concurrent first uses and rotations leave one signing key.
func TestKeysAtOnce(t *testing.T) {
	t.Parallel()
	gateways := doors(t, 2)
	var all sync.WaitGroup
	for i := range 40 {
		d := gateways[i%2]
		all.Go(func() {
			if i%8 == 0 {
				if err := d.users.Keys.Rotate(t.Context(), "user", time.Hour); err != nil {
					t.Error(err)
				}
				return
			}
			token, err := d.users.Token(t.Context(), opentera.DemoProjectUserID, time.Hour)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := gateways[(i+1)%2].users.ByToken(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	d := gateways[0]
	keys := asked[[]string](d, "SELECT array_agg(key) FROM terasocket.signing_keys")
	if n := asked[int](d, "SELECT count(*) FROM terasocket.signing_keys WHERE retires_at IS NULL"); n != 1 {
		t.Errorf("%d keys sign", n)
	}
	slices.Sort(keys)
	if len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Error("two keys are one")
	}
	for _, key := range keys {
		if len(key) != 32 || strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("a key of %d characters", len(key))
		}
	}
}

// A key that somebody has shortened signs nothing.
func TestAShortKeySignsNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.key("user")
	d.do("ALTER TABLE terasocket.signing_keys DROP CONSTRAINT signing_keys_key_check")
	d.do("UPDATE terasocket.signing_keys SET key = ''")
	if _, err := d.users.Token(t.Context(), opentera.DemoProjectUserID, time.Hour); err == nil || errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("signed: %v", err)
	}
	forged := signed(t, jwt.SigningMethodHS256, []byte{}, jwt.MapClaims{"user_uuid": opentera.DemoProjectUserUUID, "exp": time.Now().Add(time.Hour).Unix()})
	_, err := d.users.ByToken(t.Context(), forged)
	mustRefuse(t, "signed with an empty key", err, invalidToken, "")
}
