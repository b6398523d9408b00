package access

import (
	"errors"
	"fmt"
	"time"

	"terasocket/proto/opentera"
)

// ErrUnauthorized is the same answer to an unknown username, a wrong password, an invalid token and a disabled account.
var ErrUnauthorized = errors.New("unauthorized")

// Refusal is the reason for refusing credentials. It matches ErrUnauthorized: the client is told only that, the audit records Status.
type Refusal struct {
	Status opentera.LoginEvent_LoginStatus
	Who    Identity // zero: the credentials name nobody
}

func (r *Refusal) Error() string { return "unauthorized: " + r.Status.String() }

// Is makes every Refusal match ErrUnauthorized.
func (r *Refusal) Is(target error) bool { return target == ErrUnauthorized }

// TooMany says that there were too many failures, and how long to wait. The audit records MAX_ATTEMPTS_REACHED.
type TooMany struct {
	Wait time.Duration
	Who  Identity // zero: the credentials name nobody
}

func (t *TooMany) Error() string {
	return fmt.Sprintf("too many failed attempts: wait %v", t.Wait.Round(time.Second))
}

type loginStatus = opentera.LoginEvent_LoginStatus

// Short names of the statuses.
const (
	wrongPassword   = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD
	wrongUsername   = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_WRONG_USERNAME
	invalidToken    = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN
	expiredToken    = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_EXPIRED_TOKEN
	disabledAccount = opentera.LoginEvent_LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT
)
