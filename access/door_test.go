package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	"terasocket/migrations"
	protocol "terasocket/proto/opentera"
)

// Statuses of refusals, as the audit is told them.
const (
	wrongPassword = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD
	wrongUsername = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_USERNAME
	invalidToken  = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN
	expiredToken  = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_EXPIRED_TOKEN
	disabledLogin = protocol.LoginEvent_LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT
)

// quick is the demo installation with passwords of 4 rounds, migrated.
func quick() dbtest.Template { return dbtest.OpenTera("quick", migrations.Up, dbtest.QuickPasswords) }

// door is what one gateway knows of logins.
type door struct {
	testing.TB
	pool         *pgxpool.Pool
	users        *access.Users
	participants *access.Participants
	devices      *access.Devices
	clock        *atomic.Int64 // added to the time
}

// doors makes n gateways on one database.
func doors(t testing.TB, n int) []*door {
	t.Helper()
	url := dbtest.New(t, quick())
	all := make([]*door, n)
	for i := range all {
		pool := dbtest.Pool(t, url)
		d := &door{TB: t, pool: pool, devices: &access.Devices{Pool: pool}, clock: new(atomic.Int64)}
		now := func() time.Time { return time.Now().Add(time.Duration(d.clock.Load())) }
		keys, passwords := &access.Keys{Pool: pool}, access.QuickPasswords()
		d.users = &access.Users{Pool: pool, Passwords: passwords, Keys: keys, Now: now}
		d.participants = &access.Participants{Pool: pool, Passwords: passwords, Keys: keys, Now: now}
		all[i] = d
	}
	return all
}

func newDoor(t testing.TB) *door { return doors(t, 1)[0] }

func (d *door) do(sql string, args ...any) {
	d.Helper()
	if _, err := d.pool.Exec(d.Context(), sql, args...); err != nil {
		d.Fatalf("%.200s: %v", sql, err)
	}
}

// asked is the single value of a query.
func asked[T any](d *door, sql string, args ...any) (v T) {
	d.Helper()
	if err := d.pool.QueryRow(d.Context(), sql, args...).Scan(&v); err != nil {
		d.Fatalf("%.200s: %v", sql, err)
	}
	return v
}

// byPassword is the login of a kind, and who it is.
func (d *door) byPassword(kind access.Kind, username, password string) (access.Identity, error) {
	if kind == access.Participant {
		login, err := d.participants.ByPassword(d.Context(), username, password)
		return login.Identity, err
	}
	login, err := d.users.ByPassword(d.Context(), username, password)
	return login.Identity, err
}

// mustRefuse checks that err is a Refusal of this status, that it says nothing to whoever asks, and whom it names.
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

// mustWait checks that err says that there were too many attempts.
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

// The rows of the sheet's tables of checks, 3.1 and 4.1.
func TestPasswordLogins(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.do(`UPDATE t_participants SET participant_username = $1, participant_login_enabled = true, participant_password = $2 WHERE id_participant = $3`,
		opentera.DemoDisabledParticipant, opentera.DemoPasswordQuickHash, opentera.DemoDisabledParticipantID)
	for kind, p := range passwordKinds {
		for _, c := range []struct {
			name, username, password string
			status                   protocol.LoginEvent_LoginStatus
			who                      string
		}{
			{"unknown", "nobody.there", opentera.DemoPassword, wrongUsername, ""},
			{"other case", strings.ToUpper(p.username), opentera.DemoPassword, wrongUsername, ""},
			{"empty", "", opentera.DemoPassword, wrongUsername, ""},
			{"zero byte", p.username + "\x00", opentera.DemoPassword, wrongUsername, ""},
			{"no UTF-8", "\xff", opentera.DemoPassword, wrongUsername, ""},
			{"long", strings.Repeat("x", 100_000), opentera.DemoPassword, wrongUsername, ""},
			{"SQL", "' OR true --", opentera.DemoPassword, wrongUsername, ""},
			{"wrong password", p.username, "terasocket-Demo", wrongPassword, p.uuid},
			{"empty password", p.username, "", wrongPassword, p.uuid},
			{"the hash for a password", p.username, opentera.DemoPasswordQuickHash, wrongPassword, p.uuid},
			{"disabled, wrong password", p.disabled, "x", wrongPassword, p.disabledUUID},
			{"disabled, right password", p.disabled, opentera.DemoPassword, disabledLogin, p.disabledUUID},
		} {
			id, err := d.byPassword(kind, c.username, c.password)
			mustRefuse(t, kind.String()+" "+c.name, err, c.status, c.who)
			if id != (access.Identity{}) {
				t.Errorf("%s %s: refused, and named %+v", kind, c.name, id)
			}
		}
		// each of these was counted, but for those of the right password
		if n := asked[int](d, "SELECT attempts FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.username)); n != 3 {
			t.Errorf("%s: %d attempts counted, want 3", kind, n)
		}
		if n := asked[int](d, "SELECT attempts FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.disabled)); n != 2 {
			t.Errorf("%s: %d attempts counted of a disabled one, want 2", kind, n)
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.login_attempts WHERE kind = $1", kind.String()); n != 9 {
			t.Errorf("%s: %d usernames counted, want 9", kind, n)
		}
		id, err := d.byPassword(kind, p.username, opentera.DemoPassword)
		if err != nil || id.UUID != p.uuid || id.Kind != kind || id.Name == "" || id.ID == 0 {
			t.Errorf("%s: %+v, %v", kind, id, err)
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.login_attempts WHERE kind = $1 AND who = sha256($2)", kind.String(), []byte(p.username)); n != 0 {
			t.Errorf("%s: the success has not forgotten the failures", kind)
		}
	}
	mustRefuse(t, "deleted", func() error {
		_, err := d.users.ByPassword(t.Context(), opentera.DemoDeleted, opentera.DemoPassword)
		return err
	}(), wrongUsername, "")

	for username, want := range map[string]access.Account{
		opentera.DemoSuperadmin:   {},
		opentera.DemoForcedChange: {MustChangePassword: true},
		opentera.DemoOTP:          {Needs2FA: true, HasOTP: true},
	} {
		got, err := d.users.ByPassword(t.Context(), username, opentera.DemoPassword)
		got.Identity = access.Identity{}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", username, got, err, want)
		}
	}
	d.do("UPDATE t_users SET user_2fa_otp_secret = '' WHERE id_user = $1", opentera.DemoOTPID)
	if got, err := d.users.ByPassword(t.Context(), opentera.DemoOTP, opentera.DemoPassword); err != nil || !got.Needs2FA || got.HasOTP {
		t.Errorf("2FA without a secret: %+v, %v", got, err)
	}

	login, err := d.participants.ByPassword(t.Context(), opentera.DemoParticipant, opentera.DemoPassword)
	if err != nil || !login.IsFull || login.IsDynamic || login.ProjectID != 1 || login.BaseToken == nil || *login.BaseToken == "" {
		t.Errorf("participant: %+v, %v", login, err)
	}
	for _, c := range []struct {
		name, sql string
		status    protocol.LoginEvent_LoginStatus
		who       string
	}{
		{"login not enabled", "participant_login_enabled = false", disabledLogin, opentera.DemoParticipantUUID},
		{"NULL password", "participant_password = NULL", wrongPassword, opentera.DemoParticipantUUID}, // OpenTera answers 500
		{"empty password", "participant_password = ''", wrongPassword, opentera.DemoParticipantUUID},
		{"deleted", "deleted_at = now()", wrongUsername, ""},
		{"NULL username", "participant_username = NULL", wrongUsername, ""},
	} {
		d.do("UPDATE t_participants SET "+c.sql+" WHERE id_participant = $1", opentera.DemoParticipantID)
		_, err := d.participants.ByPassword(t.Context(), opentera.DemoParticipant, opentera.DemoPassword)
		mustRefuse(t, c.name, err, c.status, c.who)
		_, err = d.participants.ByPassword(t.Context(), opentera.DemoParticipant, "")
		if c.who != "" {
			mustRefuse(t, c.name+", empty password given", err, wrongPassword, c.who)
		}
		d.do(`UPDATE t_participants SET participant_login_enabled = true, participant_password = $1, deleted_at = NULL, participant_username = $2
			WHERE id_participant = $3`, opentera.DemoPasswordQuickHash, opentera.DemoParticipant, opentera.DemoParticipantID)
		d.do("DELETE FROM terasocket.login_attempts")
	}
	// of two with one name the first counts, and a deleted one is none
	d.do("UPDATE t_participants SET participant_username = $1 WHERE id_participant IN (5, 6, 7)", "twin")
	d.do("UPDATE t_participants SET participant_login_enabled = true, participant_password = $1, participant_enabled = true WHERE id_participant IN (6, 7)", opentera.DemoPasswordQuickHash)
	d.do("UPDATE t_participants SET deleted_at = now() WHERE id_participant = 5")
	if login, err := d.participants.ByPassword(t.Context(), "twin", opentera.DemoPassword); err != nil || login.ID != 6 {
		t.Errorf("twins: %+v, %v", login, err)
	}
}

// Who does not exist, or has no password, takes as long as a comparison of 12 rounds.
func TestAnUnknownUsernameTakesAsLong(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	passwords := access.NewPasswords()
	d.users.Passwords, d.participants.Passwords = passwords, passwords
	d.do("UPDATE t_participants SET participant_password = NULL WHERE id_participant = 1")
	for _, c := range []struct {
		kind     access.Kind
		username string
	}{{access.User, "nobody.there"}, {access.User, "\x00"}, {access.Participant, "nobody.there"}, {access.Participant, opentera.DemoParticipant}} {
		start := time.Now()
		_, err := d.byPassword(c.kind, c.username, "x")
		// only the lower bound is sure, see TestPasswordsWithoutAHash
		if took := time.Since(start); !errors.Is(err, access.ErrUnauthorized) || took < 20*time.Millisecond {
			t.Errorf("%s %q: answered after %v: %v", c.kind, c.username, took, err)
		}
	}
}

// At the limit the right password is refused too, whether anybody has the name or not, until 120 s after the last failure.
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
				mustWait(t, kind.String()+" "+username, err, 30*time.Second, 60*time.Second) // which a refusal does not start anew
				tooMany := (*access.TooMany)(nil)
				if errors.As(err, &tooMany) && (username == p.username) != (tooMany.Who.UUID == p.uuid) {
					t.Errorf("%s %s: the audit is told %+v", kind, username, tooMany.Who)
				}
			}
		}
		// nobody else is concerned: not others, not the other kind
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

// A failure starts the time anew.
func TestEachFailureStartsTheTimeAnew(t *testing.T) {
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

// untilNotBusy tries again while too many passwords are being checked.
func (d *door) untilNotBusy(username, password string) error {
	for {
		if _, err := d.users.ByPassword(d.Context(), username, password); !errors.Is(err, access.ErrBusy) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// Of fifty wrong guesses at once on two gateways five are compared.
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

// Right logins of one user at once all succeed.
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

// A client that goes away in the middle has used an attempt: else it could guess without being counted.
func TestAGuessWhoseClientLeavesIsCounted(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	d.users.Passwords = access.NewPasswords()
	for i := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { // a name that nobody has takes 12 rounds
			_, err := d.users.ByPassword(ctx, "nobody.there", "wrong")
			ended <- err
		}()
		for asked[int](d, "SELECT coalesce(max(attempts), 0) FROM terasocket.login_attempts") <= i {
			time.Sleep(time.Millisecond)
		}
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

// A database that stalls holds the turn for a bounded time, and is an error, not an answer.
func TestAStallIsBounded(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, "wrong")
	lock, err := d.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.Background()) }()
	if _, err := lock.Exec(t.Context(), "LOCK TABLE terasocket.login_attempts"); err != nil {
		t.Fatal(err)
	}
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

// Stamping changes one column, announces nothing and waits for nobody.
func TestStampTouchesOneColumn(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	for _, c := range []struct {
		table, id, column string
		stamp             func(ctx context.Context) error
	}{
		{"t_users", "id_user = 9", "user_lastonline", func(ctx context.Context) error {
			_, err := d.users.ByPassword(ctx, opentera.DemoProjectUser, opentera.DemoPassword)
			return err
		}},
		{"t_participants", "id_participant = 1", "participant_lastonline", func(ctx context.Context) error { return d.participants.Stamp(ctx, 1) }},
		{"t_devices", "id_device = 1", "device_lastonline", func(ctx context.Context) error { return d.devices.Stamp(ctx, 1) }},
	} {
		d.do("UPDATE " + c.table + " SET " + c.column + " = '2001-01-01'")
		stamped := func() int {
			return asked[int](d, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s > now() - interval '1 minute'", c.table, c.column))
		}
		everything := func() string {
			return asked[string](d, fmt.Sprintf("SELECT md5(string_agg((to_jsonb(r) - '%s')::text, ',' ORDER BY %s)) FROM %s r", c.column, strings.Fields(c.id)[0], c.table))
		}
		before, events := everything(), asked[int](d, "SELECT count(*) FROM terasocket.events")
		if err := c.stamp(t.Context()); err != nil {
			t.Errorf("%s: %v", c.table, err)
		}
		if everything() != before {
			t.Errorf("%s: another column than %s has changed", c.table, c.column)
		}
		if n := stamped(); n != 1 || asked[int](d, "SELECT count(*) FROM "+c.table+" WHERE "+c.id+" AND "+c.column+" > now() - interval '1 minute'") != 1 {
			t.Errorf("%s: %d rows stamped", c.table, n)
		}
		if n := asked[int](d, "SELECT count(*) FROM terasocket.events"); n != events {
			t.Errorf("%s: %d events", c.table, n-events)
		}
		// OpenTera is in the middle of writing the row
		open, err := d.pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := open.Exec(t.Context(), "UPDATE "+c.table+" SET version_id = version_id + 1 WHERE "+c.id); err != nil {
			t.Fatal(err)
		}
		if err := c.stamp(t.Context()); err != nil {
			t.Errorf("%s: while the row is locked: %v", c.table, err)
		}
		if err := open.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{d.participants.Stamp(ended, 1), d.devices.Stamp(ended, 1)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	// nobody was ever stamped by a refusal
	d.do("UPDATE t_users SET user_lastonline = NULL")
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoProjectUser, "wrong")
	_, _ = d.users.ByPassword(t.Context(), opentera.DemoDisabled, opentera.DemoPassword)
	if n := asked[int](d, "SELECT count(user_lastonline) FROM t_users"); n != 0 {
		t.Errorf("%d stamped by a refusal", n)
	}
}
