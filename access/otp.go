package access

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// Reasons for refusing a code or a secret of two-factor authentication.
var (
	ErrWrongCode = errors.New("wrong code") // or one that was used before
	ErrHasOTP    = errors.New("the user is not to use two-factor authentication, or has a secret already")
	ErrBadSecret = errors.New("an OTP secret is 16 to 128 base-32 characters")
)

// otpStep is the lifetime of a code in seconds; the previous and next codes are accepted too (pyotp's defaults, one step of tolerance).
const otpStep = 30

// otpAttempts is how many codes may be tried within 900 s, as in OpenTera.
const otpAttempts = 5

// CheckOTP checks a user's code. Codes are counted across the cluster before they are compared: after 5 wrong ones within 900 s every
// code is refused. Each code is valid once.
// Errors: ErrWrongCode; *TooMany, from the 5th wrong one on; or the database's.
func (u *Users) CheckOTP(ctx context.Context, id int32, code string) error {
	who := otpHash(id)
	var number *int32
	var wait float64
	var secret *string
	if err := u.Pool.QueryRow(ctx, "SELECT c.attempts, c.seconds, terasocket.otp_secret($2) FROM terasocket.count_attempt('otp', $1) c", who, id).
		Scan(&number, &wait, &secret); err != nil {
		return fmt.Errorf("check code: %w", err)
	}
	tooMany := &TooMany{Wait: seconds(wait), Who: Identity{Principal: Principal{Kind: User, ID: id}}}
	if number == nil {
		return tooMany
	}
	if secret != nil {
		if step, fits := u.otpStep(*secret, code); fits {
			var isNew bool
			if err := u.Pool.QueryRow(context.WithoutCancel(ctx), "SELECT terasocket.accept_otp($1, $2, $3)", id, step, who).Scan(&isNew); err != nil {
				return fmt.Errorf("accept code: %w", err)
			}
			if isNew {
				return nil
			}
		}
	}
	if *number >= otpAttempts {
		return tooMany
	}
	return ErrWrongCode
}

// OTPBlocked reports whether login is refused because of too many wrong codes. Errors: the database's.
func (u *Users) OTPBlocked(ctx context.Context, id int32) (isBlocked bool, err error) {
	if err := u.Pool.QueryRow(ctx, "SELECT terasocket.otp_blocked($1)", otpHash(id)).Scan(&isBlocked); err != nil {
		return false, fmt.Errorf("look at failed codes: %w", err)
	}
	return isBlocked, nil
}

// SetOTP stores the secret of a user that has entered a correct code (CheckNewOTP). An existing secret is not replaced.
// Errors: ErrBadSecret, ErrHasOTP, or the database's.
func (u *Users) SetOTP(ctx context.Context, id int32, secret string, withEmail bool) error {
	if !isOTPSecret(secret) {
		return ErrBadSecret
	}
	var isSet bool
	if err := u.Pool.QueryRow(ctx, "SELECT terasocket.set_otp($1, $2, $3)", id, secret, withEmail).Scan(&isSet); err != nil {
		return fmt.Errorf("set OTP secret: %w", err)
	}
	if !isSet {
		return ErrHasOTP
	}
	return nil
}

// CheckNewOTP reports whether the code matches this secret now.
func (u *Users) CheckNewOTP(secret, code string) bool {
	if !isOTPSecret(secret) {
		return false
	}
	_, fits := u.otpStep(secret, code)
	return fits
}

// otpStep returns the time step of the code.
func (u *Users) otpStep(secret, code string) (step int64, fits bool) {
	now := time.Now
	if u.Now != nil {
		now = u.Now
	}
	current := now().Unix() / otpStep
	if len(code) != 6 || strings.Trim(code, "0123456789") != "" || current < 1 {
		return 0, false
	}
	options := hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}
	for _, candidate := range [...]int64{current + 1, current, current - 1} {
		// compare with all, so that the time does not tell which one matches
		if isIt, err := hotp.ValidateCustom(code, uint64(candidate), secret, options); err == nil && isIt {
			step, fits = candidate, true
		}
	}
	return step, fits
}

// isOTPSecret reports whether an authenticator app can hold the secret; OpenTera's have 32 characters.
func isOTPSecret(secret string) bool {
	if len(secret) < 16 || len(secret) > 128 {
		return false
	}
	_, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	return err == nil && !strings.ContainsAny(secret, "\r\n")
}

func otpHash(id int32) []byte {
	hash := sha256.Sum256([]byte(strconv.Itoa(int(id))))
	return hash[:]
}
