package access

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

var errTODO = errors.New("not built yet")

// Account is what a user's credentials open.
type Account struct {
	Identity
	MustChangePassword bool
	Needs2FA           bool // user_2fa_enabled: the password alone opens nothing
	HasOTP             bool // user_2fa_otp_enabled and a secret
}

// Users checks the credentials of users against OpenTera's own tables, and signs their tokens.
type Users struct {
	Pool      *pgxpool.Pool
	Passwords *Passwords
	Keys      *Keys
	Now       func() time.Time // nil: time.Now
}

// ByPassword checks a username and a password, and stamps user_lastonline.
// Errors: *Refusal, *TooMany, ErrBusy when too many passwords are being checked, or the database's.
func (u *Users) ByPassword(ctx context.Context, username, password string) (Account, error) {
	return Account{}, errTODO
}

// ByToken says whose token it is. Errors: *Refusal, or the database's.
func (u *Users) ByToken(ctx context.Context, token string) (Account, error) {
	return Account{}, errTODO
}

// Token signs one for this user.
func (u *Users) Token(ctx context.Context, id int32, lifetime time.Duration) (string, error) {
	return "", errTODO
}

// Logout closes the user's sockets, on whichever gateway, and ends its connect tokens and this token ("": none).
func (u *Users) Logout(ctx context.Context, id Identity, token string) error { return errTODO }

// Disable ends a token before its time.
func (u *Users) Disable(ctx context.Context, token string) error { return errTODO }
