package access

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/proto/opentera"
)

// Audit writes logins, refusals and logouts to the event log, where no client hears them.
type Audit struct {
	Pool *pgxpool.Pool
}

// LoginRecord is one of them: a LoginEvent. Never put a secret into it.
type LoginRecord struct {
	Status        opentera.LoginEvent_LoginStatus
	Type          opentera.LoginEvent_LoginType
	Who           Identity // zero: nobody, or a service
	ServiceUUID   string
	ClientName    string
	ClientVersion string
	ClientIP      string
	OSName        string
	OSVersion     string
	Endpoint      string
	Message       string
}

// Record writes it. Errors: the database's.
func (a *Audit) Record(ctx context.Context, r LoginRecord) error { return errTODO }
