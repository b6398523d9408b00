package access

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Account is the account that a user's credentials belong to.
type Account struct {
	Identity
	Username           string
	MustChangePassword bool // it must do so first
	Needs2FA           bool // user_2fa_enabled: the password alone is not enough
	HasOTP             bool // user_2fa_otp_enabled and a secret
}

// Users checks the credentials of users against OpenTera's own tables, and signs their tokens. All fields but Now are required.
type Users struct {
	Pool      *pgxpool.Pool
	Passwords *Passwords
	Keys      *Keys
	Now       func() time.Time // nil: time.Now
}

//go:embed sql/user_attempt.sql
var userAttemptSQL string

//go:embed sql/user_account.sql
var userAccountSQL string

//go:embed sql/user_token.sql
var userTokenSQL string

// ByPassword checks a username and a password, and stamps user_lastonline. Failures are counted by username across the cluster, 5 in 120
// s as in OpenTera; a success resets them.
// Errors: *Refusal, *TooMany, ErrBusy if too many passwords are being checked, or the database's.
func (u *Users) ByPassword(ctx context.Context, username, password string) (Account, error) {
	var account Account
	err := guess(ctx, u.Pool, u.Passwords, User, username, password, func(ctx context.Context, who []byte, username *string) (a attempt, err error) {
		err = u.Pool.QueryRow(ctx, userAttemptSQL, who, username).Scan(&a.number, &a.seconds, &a.id, &a.who.UUID, &a.who.Name, &a.hash, &a.mayEnter,
			&account.MustChangePassword, &account.Needs2FA, &account.HasOTP)
		if a.id != nil {
			account.Identity = Identity{Principal: Principal{Kind: User, ID: *a.id}, UUID: a.who.UUID, Name: a.who.Name}
		}
		return a, err
	})
	if err != nil {
		return Account{}, err
	}
	account.Username = username
	if err := stamp(ctx, u.Pool, account.Principal); err != nil {
		return Account{}, err
	}
	return account, nil
}

// ByToken authenticates a user by a token. Errors: *Refusal, or the database's.
func (u *Users) ByToken(ctx context.Context, token string) (Account, error) {
	var claims userClaims
	err := u.Keys.check(ctx, "user", token, &claims, u.Now)
	if refused := (*Refusal)(nil); errors.As(err, &refused) && refused.Status == expiredToken {
		refused.Who = Identity{Principal: Principal{Kind: User, ID: claims.ID}, UUID: claims.UUID, Name: claims.Name}
	}
	if err != nil {
		return Account{}, err
	}
	if claims.UUID == "" {
		return Account{}, &Refusal{Status: invalidToken}
	}
	account, err := u.account(ctx, invalidToken, &claims.UUID, nil)
	if err == nil {
		u.Passwords.welcome(ctx)
	}
	return account, err
}

// account returns a user that is neither deleted nor disabled, by UUID or by id. Errors: *Refusal with status if there is none, or the
// database's.
func (u *Users) account(ctx context.Context, status loginStatus, uuid *string, id *int32) (Account, error) {
	account := Account{Identity: Identity{Principal: Principal{Kind: User}}}
	var isEnabled bool
	err := u.Pool.QueryRow(ctx, userAccountSQL, uuid, id).Scan(&account.ID, &account.UUID, &account.Name, &account.Username, &isEnabled,
		&account.MustChangePassword, &account.Needs2FA, &account.HasOTP)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Account{}, &Refusal{Status: status}
	case err != nil:
		return Account{}, fmt.Errorf("look the user up: %w", err)
	case !isEnabled:
		return Account{}, &Refusal{Status: disabledAccount, Who: account.Identity}
	}
	return account, nil
}

// userClaims are OpenTera's claims in a user's token.
type userClaims struct {
	jwt.RegisteredClaims
	UUID          string          `json:"user_uuid"`
	ID            int32           `json:"id_user"`
	Name          string          `json:"user_fullname"`
	IsSuperadmin  bool            `json:"user_superadmin"`
	ServiceAccess json.RawMessage `json:"service_access"` // {"VideoRehabService": ["admin"]}
}

// Token signs a token for this user. Errors: *Refusal if the user is deleted or disabled, or the database's.
func (u *Users) Token(ctx context.Context, id int32, lifetime time.Duration) (string, error) {
	var key, jti string
	var claims userClaims
	err := u.Pool.QueryRow(ctx, userTokenSQL, id).Scan(&key, &jti, &claims.UUID, &claims.Name, &claims.IsSuperadmin, &claims.ServiceAccess)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", &Refusal{Status: disabledAccount}
	}
	if err != nil {
		return "", fmt.Errorf("make user token: %w", err)
	}
	claims.ID, claims.RegisteredClaims = id, validity(u.Now, jti, lifetime)
	if key, err = u.Keys.signing(ctx, "user", key); err != nil {
		return "", err
	}
	return sign(key, &claims)
}

// Logout closes the user's sockets on all gateways, and ends its connect tokens, its second steps, and this token ("": none). Errors: the
// database's.
func (u *Users) Logout(ctx context.Context, id Identity, token string) error {
	return u.Keys.logout(ctx, id, token)
}

// Disable invalidates a token. Of several calls with one token the first succeeds.
// Errors: *Refusal if it is already disabled or its key no longer verifies, or the database's.
func (u *Users) Disable(ctx context.Context, token string) error {
	return u.Keys.disable(ctx, "user", token)
}

// stamp sets the last-online column of a principal, and no other.
func stamp(ctx context.Context, pool *pgxpool.Pool, p Principal) error {
	if _, err := pool.Exec(ctx, "SELECT terasocket.stamp_last_online($1, $2)", p.Kind.String(), p.ID); err != nil {
		return fmt.Errorf("stamp last online: %w", err)
	}
	return nil
}
