package access_test

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

func tokens(t testing.TB) (*access.Tokens, *pgxpool.Pool) {
	t.Helper()
	_, pool := dbtest.LendPool(t, demo())
	return &access.Tokens{Pool: pool}, pool
}

func create(t testing.TB, tokens *access.Tokens, kind access.Kind, uuid string) string {
	t.Helper()
	token, err := tokens.Create(t.Context(), kind, uuid)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenIsGoodOnce(t *testing.T) {
	t.Parallel()
	tokens, pool := tokens(t)
	for _, want := range []access.Identity{
		{Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}, UUID: opentera.DemoProjectUserUUID},
		{Principal: access.Principal{Kind: access.Participant, ID: opentera.DemoParticipantID}, UUID: opentera.DemoParticipantUUID},
		{Principal: access.Principal{Kind: access.Device, ID: opentera.DemoDeviceID}, UUID: opentera.DemoDeviceUUID},
	} {
		token := create(t, tokens, want.Kind, want.UUID)
		if !regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`).MatchString(token) {
			t.Errorf("token of %d characters is not base64url of 32 bytes", len(token))
		}
		var isInClear bool
		err := pool.QueryRow(t.Context(), "SELECT bool_or(c::text LIKE '%' || $1 || '%' OR hash = convert_to($1, 'UTF8')) FROM terasocket.connect_tokens c", token).Scan(&isInClear)
		if err != nil || isInClear {
			t.Errorf("the token is stored in clear: %t, %v", isInClear, err)
		}
		for _, kind := range access.Kinds {
			if kind != want.Kind {
				refused(t, tokens, kind, token) // and not consumed by that
			}
		}
		var counter int64
		if err := pool.QueryRow(t.Context(), "SELECT max(counter) FROM terasocket.connect_tokens").Scan(&counter); err != nil {
			t.Fatal(err)
		}
		got, err := tokens.Redeem(t.Context(), want.Kind, token)
		if err != nil || got.Name == "" || got.Principal != want.Principal || got.UUID != want.UUID {
			t.Errorf("redeemed as %+v, %v; want %+v", got, err, want)
		}
		if got.Token != counter || counter == 0 {
			t.Errorf("redeemed as token %d, want %d", got.Token, counter)
		}
		refused(t, tokens, want.Kind, token)
	}
}

func refused(t testing.TB, tokens *access.Tokens, kind access.Kind, token string) {
	t.Helper()
	got, err := tokens.Redeem(t.Context(), kind, token)
	if !errors.Is(err, access.ErrRefused) || err.Error() != access.ErrRefused.Error() || got != (access.Identity{}) {
		t.Errorf("%+v, %v; want a refusal", got, err)
	}
}

// All refusals are indistinguishable.
func TestTokenIsRefused(t *testing.T) {
	t.Parallel()
	tokens, pool := tokens(t)
	do := func(sql string) {
		t.Helper()
		dbtest.Exec(t, pool, sql)
	}
	for _, token := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 100_000), "'; DROP TABLE t_users; --", "é"} {
		refused(t, tokens, access.User, token)
	}
	token := create(t, tokens, access.User, opentera.DemoProjectUserUUID)
	refused(t, tokens, access.User, token+" ")
	refused(t, tokens, access.User, token[:42])
	refused(t, tokens, access.User, strings.ToUpper(token))
	do("UPDATE terasocket.connect_tokens SET expires_at = clock_timestamp()")
	refused(t, tokens, access.User, token)

	// changes of the principal in between
	for _, c := range []struct {
		kind       access.Kind
		uuid       string
		lose, back string
	}{
		{access.User, opentera.DemoProjectUserUUID, "UPDATE t_users SET user_enabled = false WHERE id_user = 9", "UPDATE t_users SET user_enabled = true WHERE id_user = 9"},
		{access.User, opentera.DemoProjectUserUUID, "UPDATE t_users SET deleted_at = now() WHERE id_user = 9", "UPDATE t_users SET deleted_at = NULL WHERE id_user = 9"},
		{access.Participant, opentera.DemoParticipantUUID, "UPDATE t_participants SET participant_enabled = false WHERE id_participant = 1", "UPDATE t_participants SET participant_enabled = true WHERE id_participant = 1"},
		{access.Participant, opentera.DemoParticipantUUID, "UPDATE t_participants SET deleted_at = now() WHERE id_participant = 1", "UPDATE t_participants SET deleted_at = NULL WHERE id_participant = 1"},
		{access.Device, opentera.DemoDeviceUUID, "UPDATE t_devices SET device_enabled = false WHERE id_device = 1", "UPDATE t_devices SET device_enabled = true WHERE id_device = 1"},
		{access.Device, opentera.DemoDeviceUUID, "UPDATE t_devices SET deleted_at = now() WHERE id_device = 1", "UPDATE t_devices SET deleted_at = NULL WHERE id_device = 1"},
	} {
		token := create(t, tokens, c.kind, c.uuid)
		do(c.lose)
		refused(t, tokens, c.kind, token)
		if _, err := tokens.Create(t.Context(), c.kind, c.uuid); !errors.Is(err, access.ErrUnknown) {
			t.Errorf("%s: created, %v", c.lose, err)
		}
		do(c.back)
		refused(t, tokens, c.kind, token) // consumed all the same
		if _, err := tokens.Redeem(t.Context(), c.kind, create(t, tokens, c.kind, c.uuid)); err != nil {
			t.Errorf("%s: %v", c.back, err)
		}
	}
}

func TestTokenOfNobody(t *testing.T) {
	t.Parallel()
	tokens, pool := tokens(t)
	for _, c := range []struct {
		kind access.Kind
		uuid string
	}{
		{access.User, opentera.DemoDisabledUUID}, {access.User, opentera.DemoDeletedUUID}, {access.Participant, opentera.DemoDisabledParticipantUUID},
		{access.Device, opentera.DemoDisabledDeviceUUID},
		{access.User, opentera.DemoParticipantUUID}, {access.Participant, opentera.DemoDeviceUUID}, {access.Device, opentera.DemoProjectUserUUID}, // of another kind
		{access.User, ""}, {access.User, "9"}, {access.User, strings.ToUpper(opentera.DemoProjectUserUUID)}, {access.User, "x' OR true --"},
	} {
		if token, err := tokens.Create(t.Context(), c.kind, c.uuid); token != "" || !errors.Is(err, access.ErrUnknown) {
			t.Errorf("%s %q: %q, %v", c.kind, c.uuid, token, err)
		}
	}
	if _, err := tokens.Create(t.Context(), access.Kind(0), opentera.DemoProjectUserUUID); err == nil || errors.Is(err, access.ErrUnknown) {
		t.Errorf("of no kind: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tokens.Create(cancelled, access.User, opentera.DemoProjectUserUUID); !errors.Is(err, context.Canceled) || errors.Is(err, access.ErrUnknown) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := tokens.Redeem(cancelled, access.User, "x"); !errors.Is(err, context.Canceled) || errors.Is(err, access.ErrRefused) {
		t.Errorf("cancelled: %v", err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM terasocket.connect_tokens").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d tokens, %v", n, err)
	}
}

// Of a hundred concurrent redemptions of one token, one succeeds.
func TestTokenRace(t *testing.T) {
	t.Parallel()
	tokens, _ := tokens(t)
	token := create(t, tokens, access.Participant, opentera.DemoParticipantUUID)
	var won, lost atomic.Int32
	var all sync.WaitGroup
	start := make(chan struct{})
	for range 100 {
		all.Go(func() {
			<-start
			switch _, err := tokens.Redeem(t.Context(), access.Participant, token); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, access.ErrRefused):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	if won.Load() != 1 || lost.Load() != 99 {
		t.Errorf("%d succeed, %d are refused", won.Load(), lost.Load())
	}
}

func TestSweep(t *testing.T) {
	t.Parallel()
	tokens, pool := tokens(t)
	for range 5 {
		create(t, tokens, access.User, opentera.DemoProjectUserUUID)
	}
	kept := create(t, tokens, access.User, opentera.DemoSuperadminUUID)
	var good time.Duration
	err := pool.QueryRow(t.Context(), "SELECT min(expires_at) - now() FROM terasocket.connect_tokens").Scan(&good)
	if err != nil || good > access.TokenLifetime || good < access.TokenLifetime-30*time.Second {
		t.Errorf("a token is valid for %v, %v", good, err)
	}
	dbtest.Exec(t, pool, "UPDATE terasocket.connect_tokens SET expires_at = now() - interval '1 s' WHERE uuid = $1", opentera.DemoProjectUserUUID)
	for _, want := range []int64{5, 0} {
		if n, err := tokens.Sweep(t.Context()); n != want || err != nil {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
	if _, err := tokens.Redeem(t.Context(), access.User, kept); err != nil {
		t.Errorf("a valid token was swept: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tokens.RunSweep(ctx, slog.New(slog.DiscardHandler)) }()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("RunSweep: %v", err)
	}
	if _, err := tokens.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"user", "participant", "device"} {
		k := access.Kinds[i]
		if got, err := access.ParseKind(name); got != k || err != nil || k.String() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if got, uuid, err := access.ParseRef(name + ":a:b"); got != k || uuid != "a:b" || err != nil {
			t.Errorf("%s: %v, %q, %v", name, got, uuid, err)
		}
	}
	for _, bad := range []string{"", "User", "user ", "service", "kind(0)"} {
		if k, err := access.ParseKind(bad); err == nil || k != 0 {
			t.Errorf("%q is a kind: %v", bad, k)
		}
	}
	for _, bad := range []string{"", "user", "service:x"} {
		if _, _, err := access.ParseRef(bad); err == nil {
			t.Errorf("%q is a ref", bad)
		}
	}
	if s := (access.Principal{Kind: access.Device, ID: 7}).String(); s != "device:7" {
		t.Error(s)
	}
	if s := access.Kind(9).String(); s != "kind(9)" {
		t.Error(s)
	}
}
