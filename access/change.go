package access

import (
	"context"
	"errors"
)

// Why a password is not changed.
var (
	ErrSamePassword = errors.New("new password same as old password")
	ErrNotRequired  = errors.New("user not required to change password")
)

// ChangePassword replaces the password of a user that must change it.
// Errors: ErrNotRequired, ErrSamePassword, ErrBusy, or the database's.
func (u *Users) ChangePassword(ctx context.Context, id int32, password string) error { return errTODO }

// PasswordWeaknesses says what a password lacks, by OpenTera's rules; empty: nothing.
func PasswordWeaknesses(password string) []string { return nil }
