package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Login is what a user's credentials open (OpenTera's Login and authentication).
type Login struct {
	Identity
	MustChangePassword bool // it may do nothing else first
	Needs2FA           bool // the password alone opens nothing
}

// Logins checks credentials against OpenTera's own tables.
type Logins struct {
	Pool      *pgxpool.Pool
	Passwords *Passwords
}

//go:embed sql/user_by_username.sql
var userByUsernameSQL string

// User checks a user's name and password.
// Errors: ErrUnauthorized; ErrBusy when too many passwords are being checked; or the database's.
func (l *Logins) User(ctx context.Context, username, password string) (Login, error) {
	login := Login{Identity: Identity{Principal: Principal{Kind: User}}}
	var hash string
	var isEnabled bool
	err := l.Pool.QueryRow(ctx, userByUsernameSQL, username).Scan(&login.ID, &login.UUID, &login.Name, &hash, &isEnabled,
		&login.MustChangePassword, &login.Needs2FA)
	isKnown := !errors.Is(err, pgx.ErrNoRows)
	if isKnown && err != nil {
		return Login{}, fmt.Errorf("look the user up: %w", err)
	}
	// An unknown name costs a comparison too: the time must not tell that it is unknown.
	matches, err := l.Passwords.Match(ctx, hash, password)
	switch {
	case err != nil:
		return Login{}, err
	case !isKnown, !matches, !isEnabled:
		return Login{}, ErrUnauthorized
	}
	return login, nil
}
