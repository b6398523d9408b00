package access

import (
	"context"
	"errors"
)

// ErrWrongCode is the answer to a wrong or used code of two-factor authentication.
var ErrWrongCode = errors.New("wrong code")

// CheckOTP checks a user's code. Errors: ErrWrongCode, *TooMany, or the database's.
func (u *Users) CheckOTP(ctx context.Context, id int32, code string) error { return errTODO }

// OTPBlocked says whether there were so many wrong codes that login is refused.
func (u *Users) OTPBlocked(ctx context.Context, id int32) (bool, error) { return false, errTODO }

// SetOTP keeps the secret of a user that has shown a right code.
func (u *Users) SetOTP(ctx context.Context, id int32, secret string, withEmail bool) error {
	return errTODO
}

// CheckNewOTP says whether the code fits this secret now.
func (u *Users) CheckNewOTP(secret, code string) bool { return false }
