package access_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/bcrypt"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	protocol "terasocket/proto/opentera"
)

// Statuses of refusals in the audit.
const (
	wrongPassword = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD
	wrongUsername = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_USERNAME
	invalidToken  = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN
	expiredToken  = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_EXPIRED_TOKEN
	disabledLogin = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT
)

// quick is the demo installation with bcrypt hashes of 4 rounds, migrated.
func quick() dbtest.Template {
	from := demo()
	return dbtest.Template{Name: "quick", From: &from, Fill: dbtest.QuickPasswords}
}

// door is one gateway's login state.
type door struct {
	testing.TB
	pool         *pgxpool.Pool
	users        *access.Users
	participants *access.Participants
	devices      *access.Devices
	clock        *atomic.Int64 // offset added to the time
}

// doors makes n gateways on one database.
func doors(t testing.TB, n int) []*door {
	t.Helper()
	url, pool := dbtest.LendPool(t, quick())
	all := make([]*door, n)
	for i := range all {
		if i > 0 {
			pool = dbtest.Pool(t, url)
		}
		d := &door{TB: t, pool: pool, devices: &access.Devices{Pool: pool}, clock: new(atomic.Int64)}
		now := func() time.Time { return time.Now().Add(time.Duration(d.clock.Load())) }
		keys, passwords := &access.Keys{Pool: pool}, access.NewPasswords(bcrypt.MinCost)
		d.users = &access.Users{Pool: pool, Passwords: passwords, Keys: keys, Now: now}
		d.participants = &access.Participants{Pool: pool, Passwords: passwords, Keys: keys, Now: now}
		all[i] = d
	}
	return all
}

func newDoor(t testing.TB) *door { return doors(t, 1)[0] }

func (d *door) do(sql string, args ...any) {
	d.Helper()
	dbtest.Exec(d, d.pool, sql, args...)
}

// asked returns the single value of a query.
func asked[T any](d *door, sql string, args ...any) T {
	d.Helper()
	return dbtest.One[T](d, d.pool, sql, args...)
}

// byPassword logs in by the given kind, and returns the identity.
func (d *door) byPassword(kind access.Kind, username, password string) (access.Identity, error) {
	if kind == access.Participant {
		login, err := d.participants.ByPassword(d.Context(), username, password)
		return login.Identity, err
	}
	login, err := d.users.ByPassword(d.Context(), username, password)
	return login.Identity, err
}

// mustRefuse checks that err is a Refusal of this status, that it reveals nothing to the client, and whom it names.
func mustRefuse(t testing.TB, what string, err error, status protocol.LoginEvent_LoginStatus, who string) {
	t.Helper()
	var refused *access.Refusal
	if !errors.As(err, &refused) || !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("%s: %v, want a refusal", what, err)
		return
	}
	if refused.Status != status || refused.Who.UUID != who {
		t.Errorf("%s: %s of %q, want %s of %q", what, refused.Status, refused.Who.UUID, status, who)
	}
}

// mustWait checks that err reports too many attempts.
func mustWait(t testing.TB, what string, err error, least, most time.Duration) {
	t.Helper()
	var tooMany *access.TooMany
	if !errors.As(err, &tooMany) || errors.Is(err, access.ErrUnauthorized) || tooMany.Wait < least || tooMany.Wait > most {
		t.Errorf("%s: %v, want too many attempts, and a wait of %v to %v", what, err, least, most)
	}
}

var passwordKinds = map[access.Kind]struct{ username, uuid, other, disabled, disabledUUID string }{
	access.User:        {opentera.DemoProjectUser, opentera.DemoProjectUserUUID, opentera.DemoOtherProjectUser, opentera.DemoDisabled, opentera.DemoDisabledUUID},
	access.Participant: {opentera.DemoParticipant, opentera.DemoParticipantUUID, opentera.DemoOtherParticipant, opentera.DemoDisabledParticipant, opentera.DemoDisabledParticipantUUID},
}
