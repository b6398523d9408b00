package access

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ParticipantLogin is what a participant's credentials open.
type ParticipantLogin struct {
	Identity
	IsFull    bool // false: came with its static token
	IsDynamic bool // came with a dynamic token
	ProjectID int32
	BaseToken *string // the static token
}

// Participants checks the credentials of participants, and signs their dynamic tokens.
type Participants struct {
	Pool      *pgxpool.Pool
	Passwords *Passwords
	Keys      *Keys
	Now       func() time.Time // nil: time.Now
}

// ByPassword checks a username and a password. Errors: as Users.ByPassword.
func (p *Participants) ByPassword(ctx context.Context, username, password string) (ParticipantLogin, error) {
	return ParticipantLogin{}, errTODO
}

// ByToken says whose static or dynamic token it is. Errors: *Refusal, or the database's.
func (p *Participants) ByToken(ctx context.Context, token string) (ParticipantLogin, error) {
	return ParticipantLogin{}, errTODO
}

// Token signs a dynamic one.
func (p *Participants) Token(ctx context.Context, id int32, lifetime time.Duration) (string, error) {
	return "", errTODO
}

// Logout closes its sockets, and ends its connect tokens and this dynamic token ("": none; a static one stays).
func (p *Participants) Logout(ctx context.Context, id Identity, token string) error { return errTODO }

// Disable ends a dynamic token before its time.
func (p *Participants) Disable(ctx context.Context, token string) error { return errTODO }

// Stamp sets participant_lastonline.
func (p *Participants) Stamp(ctx context.Context, id int32) error { return errTODO }

// SessionType is one of a participant's or a device's projects, as the login shows it.
type SessionType struct {
	ServiceID *int32 `json:"id_service"`
	ID        int32  `json:"id_session_type"`
	Category  int32  `json:"session_type_category"`
	Color     string `json:"session_type_color"`
	Name      string `json:"session_type_name"`
}

// SessionTypes lists those of the participant's project; never nil.
func (p *Participants) SessionTypes(ctx context.Context, id int32) ([]SessionType, error) {
	return nil, errTODO
}
