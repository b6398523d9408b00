package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// StartSession begins the second step of a login, and returns its secret: 32 random bytes as base64url, stored as their SHA-256 and valid
// for 15 minutes, on every gateway. A letter appended to them says whether the login asked for a websocket URL; it is hashed too, so it
// cannot be changed. Errors: the database's.
func (u *Users) StartSession(ctx context.Context, id int32, withWebsocket bool) (string, error) {
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	secret := base64.RawURLEncoding.EncodeToString(random) + map[bool]string{true: withSocket, false: withoutSocket}[withWebsocket]
	if _, err := u.Pool.Exec(ctx, "SELECT terasocket.start_login_session($1, $2)", sessionHash(secret), id); err != nil {
		return "", fmt.Errorf("start login session: %w", err)
	}
	return secret, nil
}

const withSocket, withoutSocket = "w", "n"

// SessionWithWebsocket reports whether the login of this session asked for a websocket URL.
func SessionWithWebsocket(secret string) bool { return strings.HasSuffix(secret, withSocket) }

// BySession returns the account of a second step. Errors: *Refusal if it is unknown or over, or the user is deleted or disabled; or the
// database's.
func (u *Users) BySession(ctx context.Context, secret string) (Account, error) {
	if secret == "" {
		return Account{}, &Refusal{Status: invalidToken}
	}
	var id *int32
	if err := u.Pool.QueryRow(ctx, "SELECT terasocket.login_session_user($1)", sessionHash(secret)).Scan(&id); err != nil {
		return Account{}, fmt.Errorf("look login session up: %w", err)
	}
	if id == nil {
		return Account{}, &Refusal{Status: invalidToken}
	}
	return u.account(ctx, invalidToken, nil, id)
}

// EndSession ends the second step; it may have ended already. Errors: the database's.
func (u *Users) EndSession(ctx context.Context, secret string) error {
	if _, err := u.Pool.Exec(ctx, "SELECT terasocket.end_login_session($1)", sessionHash(secret)); err != nil {
		return fmt.Errorf("end login session: %w", err)
	}
	return nil
}

func sessionHash(secret string) []byte {
	hash := sha256.Sum256([]byte(secret))
	return hash[:]
}
