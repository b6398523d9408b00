package bridge_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/crypto/bcrypt"

	"terasocket/access"
	"terasocket/bridge"
	"terasocket/db/opentera"
)

// tokens holds a gateway's token checks, and OpenTera's side of them.
type tokens struct {
	*door
	users        *access.Users
	participants *access.Participants
	services     *access.Services
}

func newTokens(t testing.TB) *tokens {
	d := newDoor(t)
	shared := &bridge.Keys{Redis: d.redis}
	keys, passwords := &access.Keys{Pool: d.pool, Shared: shared}, access.NewPasswords(bcrypt.MinCost)
	f := &tokens{d, &access.Users{Pool: d.pool, Passwords: passwords, Keys: keys}, &access.Participants{Pool: d.pool, Passwords: passwords, Keys: keys},
		&access.Services{Pool: d.pool, Shared: shared}}
	f.startOpenTera("first")
	return f
}

// startOpenTera makes new keys, as each start of OpenTera does.
func (f *tokens) startOpenTera(word string) {
	f.Helper()
	for _, kind := range []string{"User", "Participant", "Service"} {
		f.must(f.redis.Set(f.Context(), kind+"TokenAPIKey", (word + kind + strings.Repeat("k", 32))[:32], 0).Err())
	}
}

// signed returns a token as OpenTera signs it.
func (f *tokens) signed(key string, claims jwt.MapClaims) string {
	f.Helper()
	secret, err := f.redis.Get(f.Context(), key).Result()
	f.must(err)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	f.must(err)
	return token
}

// ofUser and ofParticipant return tokens as OpenTera's logins make them (login.md 7).
func (f *tokens) ofUser() string {
	now := time.Now().Unix()
	return f.signed("UserTokenAPIKey", jwt.MapClaims{"iat": now, "exp": now + 3600, "iss": "TeraServer", "jti": "6a3e3b7e-3c0f-4c55-8f9d-0d3c6f0c7a11",
		"user_uuid": opentera.DemoProjectUserUUID, "id_user": opentera.DemoProjectUserID, "user_fullname": "Ursula", "user_superadmin": false, "service_access": map[string]any{}})
}

func (f *tokens) ofParticipant() string {
	now := time.Now().Unix()
	return f.signed("ParticipantTokenAPIKey", jwt.MapClaims{"iat": now, "exp": now + 3600, "iss": "TeraServer", "jti": "6a3e3b7e-3c0f-4c55-8f9d-0d3c6f0c7a12",
		"participant_uuid": opentera.DemoParticipantUUID, "id_participant": opentera.DemoParticipantID, "user_fullname": "Lucie"})
}

// openTeraTakes reports whether OpenTera accepts a token: it checks the set, the signature and the expiry, and needs the
// claims.
func (f *tokens) openTeraTakes(key, set, token string, needed ...string) bool {
	f.Helper()
	isDisabled, err := f.redis.SIsMember(f.Context(), set, token).Result()
	f.must(err)
	if isDisabled {
		return false
	}
	secret, err := f.redis.Get(f.Context(), key).Result()
	f.must(err)
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return []byte(secret), nil }, jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()); err != nil {
		return false
	}
	var have []string
	for name := range claims {
		have = append(have, name)
	}
	slices.Sort(have)
	slices.Sort(needed)
	if !slices.Equal(have, needed) || claims["iss"] != "TeraServer" {
		f.Errorf("claims %v, want %v", claims, needed)
	}
	return true
}

func (f *tokens) openTeraTakesUser(token string) bool {
	f.Helper()
	return f.openTeraTakes("UserTokenAPIKey", "user_disabled_tokens", token, "iat", "exp", "iss", "jti", "user_uuid", "id_user", "user_fullname", "user_superadmin", "service_access")
}

func (f *tokens) openTeraTakesParticipant(token string) bool {
	f.Helper()
	return f.openTeraTakes("ParticipantTokenAPIKey", "participant_disabled_tokens", token, "iat", "exp", "iss", "jti", "participant_uuid", "id_participant", "user_fullname")
}

// form describes the tokens of one kind, for tests that are the same for both.
type form struct {
	openTeras   func() string
	ours        func() (string, error)
	weTake      func(token string) error
	openTera    func(token string) bool
	logout      func(token string) error
	disable     func(token string) error
	disabledSet string
}

func (f *tokens) forms() map[string]form {
	ctx := f.Context()
	user := access.Identity{Principal: access.Principal{Kind: access.User, ID: opentera.DemoProjectUserID}, UUID: opentera.DemoProjectUserUUID}
	lucie := access.Identity{Principal: access.Principal{Kind: access.Participant, ID: opentera.DemoParticipantID}, UUID: opentera.DemoParticipantUUID}
	return map[string]form{
		"user": {f.ofUser, func() (string, error) { return f.users.Token(ctx, opentera.DemoProjectUserID, time.Hour) },
			func(token string) error { _, err := f.users.ByToken(ctx, token); return err }, f.openTeraTakesUser,
			func(token string) error { return f.users.Logout(ctx, user, token) }, func(token string) error { return f.users.Disable(ctx, token) }, "user_disabled_tokens"},
		"participant": {f.ofParticipant, func() (string, error) { return f.participants.Token(ctx, opentera.DemoParticipantID, time.Hour) },
			func(token string) error { _, err := f.participants.ByToken(ctx, token); return err }, f.openTeraTakesParticipant,
			func(token string) error { return f.participants.Logout(ctx, lucie, token) }, func(token string) error { return f.participants.Disable(ctx, token) }, "participant_disabled_tokens"},
	}
}

// bridge.md 5: a token of either login is valid at both servers; a logout or a refresh at either ends it at both.
func TestOneTokenAtBothServers(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, form := range f.forms() {
		ours, err := form.ours()
		f.must(err)
		theirs := form.openTeras()
		for whose, token := range map[string]string{"ours": ours, "OpenTera's": theirs} {
			if err := form.weTake(token); err != nil || !form.openTera(token) {
				t.Errorf("%s, %s: %v", name, whose, err)
			}
		}
		// log out here
		f.must(form.logout(theirs))
		if form.openTera(theirs) {
			t.Errorf("%s: OpenTera accepts a token that was logged out here", name)
		}
		refused(name+": logged out here", form.weTake(theirs))
		// log out there
		f.must(f.redis.SAdd(t.Context(), form.disabledSet, ours).Err())
		refused(name+": logged out there", form.weTake(ours))
		// refresh here
		fresh, err := form.ours()
		f.must(err)
		f.must(form.disable(fresh))
		refused(name+": refreshed here", form.weTake(fresh))
		refused(name+": refreshed again", form.disable(fresh))
		if form.openTera(fresh) {
			t.Errorf("%s: OpenTera accepts a token that was refreshed here", name)
		}
	}
	if n, err := f.redis.DBSize(t.Context()).Result(); n != 5 || err != nil { // bridge.md 0: nothing of ours
		t.Errorf("%d keys, %v, want three keys and two sets", n, err)
	}
	service := f.signed("ServiceTokenAPIKey", jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID, "iat": time.Now().Unix()})
	if s, err := f.services.Service(t.Context(), service); err != nil || s.UUID != opentera.DemoVideoRehabServiceUUID {
		t.Errorf("%+v, %v with a token made by a service", s, err)
	}
}

// bridge.md 5: of concurrent refreshes with one token, at both servers, one succeeds.
func TestRefreshesAtOnce(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	form := f.forms()["user"]
	for range 10 {
		token, err := form.ours()
		f.must(err)
		var first atomic.Int32
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := form.disable(token); err == nil {
					first.Add(1)
				} else if !errors.Is(err, access.ErrUnauthorized) {
					t.Error(err)
				}
			})
			all.Go(func() {
				if n, err := f.redis.SAdd(t.Context(), form.disabledSet, token).Result(); err != nil || n == 1 {
					first.Add(1)
				}
			})
		}
		all.Wait()
		if n := first.Load(); n != 1 {
			t.Fatalf("one token was refreshed %d times", n)
		}
	}
}

// bridge.md 5: OpenTera restarts with new keys, and all old tokens are refused; while it has none, the answer is an error.
func TestOpenTeraRestarted(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	service := f.signed("ServiceTokenAPIKey", jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID})
	check := func(what string, token string, weTake func(string) error, isSo func(error) bool) {
		t.Helper()
		if err := weTake(token); !isSo(err) || err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v", what, err)
		}
	}
	isRefused := func(err error) bool { return errors.Is(err, access.ErrUnauthorized) }
	cannotSay := func(err error) bool { return err != nil && !isRefused(err) }
	takesService := func(token string) error { _, err := f.services.Service(t.Context(), token); return err }
	old := map[string][]string{}
	for name, form := range f.forms() {
		ours, err := form.ours()
		f.must(err)
		old[name] = []string{ours, form.openTeras()}
	}
	f.must(f.redis.FlushDB(t.Context()).Err()) // OpenTera stops
	for name, form := range f.forms() {
		for _, token := range old[name] {
			check(name+" while OpenTera is stopped", token, form.weTake, func(err error) bool { return errors.Is(err, bridge.ErrNoKeys) })
		}
		if token, err := form.ours(); !errors.Is(err, bridge.ErrNoKeys) {
			t.Errorf("%s: %q, %v signed without a key", name, token, err)
		}
	}
	check("service while OpenTera is stopped", service, takesService, cannotSay)
	f.startOpenTera("second")
	for name, form := range f.forms() {
		for _, token := range old[name] {
			check(name+" after a restart", token, form.weTake, isRefused)
		}
		f.must(form.weTake(form.openTeras()))
	}
	check("service after a restart", service, takesService, isRefused)

	token := f.ofUser()
	for what, broken := range map[string][]any{"short": {"SET", "UserTokenAPIKey", "short"}, "empty": {"SET", "UserTokenAPIKey", ""}, "a list": {"RPUSH", "UserTokenAPIKey", "x"}} {
		f.must(f.redis.Del(t.Context(), "UserTokenAPIKey").Err())
		f.must(f.redis.Do(t.Context(), broken...).Err())
		check("a key that is "+what, token, f.forms()["user"].weTake, cannotSay)
	}
	f.startOpenTera("second")
	f.must(f.redis.Set(t.Context(), "user_disabled_tokens", "x", 0).Err())
	check("a set that is a text", token, f.forms()["user"].weTake, cannotSay)
}

// bridge.md 5: a key is valid only for tokens of its own kind, and our own keys are not valid beside OpenTera's.
func TestKeysAreNotMixedUp(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	claims := jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "iss": "TeraServer", "user_uuid": opentera.DemoProjectUserUUID, "id_user": 9,
		"participant_uuid": opentera.DemoParticipantUUID, "service_uuid": opentera.DemoVideoRehabServiceUUID}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	f.must(err)
	var own string
	f.must(f.pool.QueryRow(t.Context(), "SELECT terasocket.signing_key('user')").Scan(&own))
	byOwn, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(own))
	f.must(err)
	for what, token := range map[string]string{"unsigned": unsigned, "by our key": byOwn, "by the key of participants": f.signed("ParticipantTokenAPIKey", claims),
		"by the key of services": f.signed("ServiceTokenAPIKey", claims), "without an end": f.signed("UserTokenAPIKey", jwt.MapClaims{"user_uuid": opentera.DemoProjectUserUUID})} {
		if _, err := f.users.ByToken(t.Context(), token); !errors.Is(err, access.ErrUnauthorized) {
			t.Errorf("user %s: %v", what, err)
		}
	}
	byUser := f.signed("UserTokenAPIKey", claims)
	if _, err := f.participants.ByToken(t.Context(), byUser); !errors.Is(err, access.ErrUnauthorized) {
		t.Error(err)
	}
	if _, err := f.services.Service(t.Context(), byUser); !errors.Is(err, access.ErrUnauthorized) {
		t.Error(err)
	}
}

// bridge.md 9: while Redis is down no token is accepted or refused, and a logout happens at both servers or at neither.
func TestTokensWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	f := newTokens(t)
	tokens := map[string]string{}
	for name, form := range f.forms() {
		tokens[name] = form.openTeras()
	}
	f.must(f.server.Freeze())
	var all sync.WaitGroup
	for name, form := range f.forms() {
		for what, do := range map[string]func() error{"take": func() error { return form.weTake(tokens[name]) }, "logout": func() error { return form.logout(tokens[name]) },
			"refresh": func() error { return form.disable(tokens[name]) }, "login": func() error { _, err := form.ours(); return err }} {
			all.Go(func() {
				if err := do(); err == nil || errors.Is(err, access.ErrUnauthorized) || strings.Contains(err.Error(), tokens[name]) {
					t.Errorf("%s, %s: %v", name, what, err)
				}
			})
		}
	}
	all.Wait()
	f.must(f.server.Thaw())
	var kicks, disabled int
	f.must(f.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM terasocket.kicked), (SELECT count(*) FROM terasocket.disabled_tokens)").Scan(&kicks, &disabled))
	if kicks+disabled != 0 {
		t.Errorf("%d kicks, %d disabled tokens, though nobody was logged out", kicks, disabled)
	}
	for name, form := range f.forms() {
		f.must(form.weTake(tokens[name]))
	}

	// Redis fails during a logout: the key is read, the set cannot be written
	f.must(f.redis.Do(t.Context(), "ACL", "SETUSER", "default", "-sadd").Err())
	for name, form := range f.forms() {
		if err := form.logout(tokens[name]); err == nil || !strings.Contains(err.Error(), "+sadd") {
			t.Errorf("%s: %v", name, err)
		}
		f.must(form.weTake(tokens[name]))
	}
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.must(f.pool.QueryRow(limit, "SELECT count(*) FROM terasocket.kicked").Scan(&kicks))
	if kicks != 0 {
		t.Errorf("%d kicks by a logout that failed", kicks)
	}
}
