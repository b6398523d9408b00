package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Reasons for not changing a password.
var (
	ErrSamePassword = errors.New("new password same as old password")
	ErrNotRequired  = errors.New("user not required to change password")
	ErrWeakPassword = errors.New("the password is too weak") // PasswordWeaknesses lists the reasons
)

// ChangePassword replaces the password of a user that must change it, and ends its pending second steps. The work is bounded as in
// ByPassword. Errors: ErrNotRequired, ErrWeakPassword, ErrSamePassword, ErrBusy, or the database's.
func (u *Users) ChangePassword(ctx context.Context, id int32, password string) error {
	if len(PasswordWeaknesses(password)) > 0 {
		return ErrWeakPassword
	}
	var old *string
	if err := u.Pool.QueryRow(ctx, "SELECT max(password) FROM terasocket.user_account(by_id => $1) WHERE is_enabled AND must_change", id).Scan(&old); err != nil {
		return fmt.Errorf("look the user up: %w", err)
	}
	if old == nil {
		return ErrNotRequired
	}
	var hash string
	err := u.Passwords.inTurn(ctx, fmt.Sprint("user ", id), func() (err error) {
		if u.Passwords.compare(*old, password) {
			return ErrSamePassword
		}
		hash, err = u.Passwords.hashed(password)
		return err
	})
	if err != nil {
		return err
	}
	var isChanged bool
	if err := u.Pool.QueryRow(ctx, "SELECT terasocket.change_password($1, $2, $3)", id, *old, hash).Scan(&isChanged); err != nil {
		return fmt.Errorf("change password: %w", err)
	}
	if !isChanged { // somebody else has changed it meanwhile
		return ErrNotRequired
	}
	return nil
}

// passwordSpecials are the characters that OpenTera accepts as special.
const passwordSpecials = " !#$%&'()*+,-./[\\]^_`{|}~\""

// maxPassword is bcrypt's limit in bytes: it ignores the rest of a longer password.
const maxPassword = 72

// PasswordWeaknesses returns what a password lacks by OpenTera's rules; empty: nothing.
func PasswordWeaknesses(password string) (weaknesses []string) {
	const (
		digits = "0123456789"
		lower  = "abcdefghijklmnopqrstuvwxyz"
		upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	if utf8.RuneCountInString(password) < 10 {
		weaknesses = append(weaknesses, "Password must be at least 10 characters long")
	}
	for _, need := range [...]struct{ characters, text string }{
		{digits, "Password must have at least one digit"},
		{upper, "Password must have at least one upper case letter"},
		{lower, "Password must have at least one lower case letter"},
		{passwordSpecials, "Password must have at least one special character"},
	} {
		if !strings.ContainsAny(password, need.characters) {
			weaknesses = append(weaknesses, need.text)
		}
	}
	if len(password) > maxPassword {
		weaknesses = append(weaknesses, "Password must be at most 72 bytes long")
	}
	if strings.Contains(password, "\x00") || !utf8.ValidString(password) {
		weaknesses = append(weaknesses, "Password has a character that cannot be used")
	}
	return weaknesses
}
