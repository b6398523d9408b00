package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ParticipantLogin is the result of a participant's login.
type ParticipantLogin struct {
	Identity
	IsFull    bool // false: logged in with the static token
	IsDynamic bool // logged in with a dynamic token
	ProjectID int32
	BaseToken *string // the static token
}

// Participants checks the credentials of participants, and signs their dynamic tokens. All fields but Now are required.
type Participants struct {
	Pool      *pgxpool.Pool
	Passwords *Passwords
	Keys      *Keys
	Now       func() time.Time // nil: time.Now
}

//go:embed sql/participant_attempt.sql
var participantAttemptSQL string

//go:embed sql/participant_account.sql
var participantAccountSQL string

//go:embed sql/participant_token.sql
var participantTokenSQL string

// participantClaims are OpenTera's claims in a participant's tokens. A static token has no Name.
type participantClaims struct {
	jwt.RegisteredClaims
	UUID string `json:"participant_uuid"`
	ID   int32  `json:"id_participant"`
	Name string `json:"user_fullname"` // OpenTera's name for it
}

// ByPassword checks a username and a password. Failures are counted as for users. Usernames are not unique in the database: the first
// participant counts. Nothing is stamped. Errors: as Users.ByPassword.
func (p *Participants) ByPassword(ctx context.Context, username, password string) (ParticipantLogin, error) {
	login := ParticipantLogin{IsFull: true}
	err := guess(ctx, p.Pool, p.Passwords, Participant, username, password, func(ctx context.Context, who []byte, username *string) (a attempt, err error) {
		err = p.Pool.QueryRow(ctx, participantAttemptSQL, who, username).Scan(&a.number, &a.seconds, &a.id, &a.who.UUID, &a.who.Name, &a.hash, &a.mayEnter,
			&login.ProjectID, &login.BaseToken)
		if a.id != nil {
			login.Identity = Identity{Principal: Principal{Kind: Participant, ID: *a.id}, UUID: a.who.UUID, Name: a.who.Name}
		}
		return a, err
	})
	if err != nil {
		return ParticipantLogin{}, err
	}
	return login, nil
}

// ByToken authenticates a participant by a token: a static one, which the participant's row holds, or a dynamic one, signed by us.
// Errors: *Refusal, or the database's.
func (p *Participants) ByToken(ctx context.Context, token string) (ParticipantLogin, error) {
	if !isToken(token) {
		return ParticipantLogin{}, &Refusal{Status: invalidToken}
	}
	login, err := p.byStatic(ctx, token)
	if err == nil {
		p.Passwords.welcome(ctx)
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return login, err
	}
	var claims participantClaims
	err = p.Keys.check(ctx, "participant", token, &claims, p.Now)
	if refused := (*Refusal)(nil); errors.As(err, &refused) && refused.Status == expiredToken {
		refused.Who = Identity{Principal: Principal{Kind: Participant, ID: claims.ID}, UUID: claims.UUID, Name: claims.Name}
	}
	if err != nil {
		return ParticipantLogin{}, err
	}
	if claims.UUID == "" {
		return ParticipantLogin{}, &Refusal{Status: invalidToken}
	}
	row, err := p.row(ctx, &claims.UUID, nil)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ParticipantLogin{}, &Refusal{Status: invalidToken}
	case err != nil:
		return ParticipantLogin{}, err
	case !row.isEnabled:
		return ParticipantLogin{}, &Refusal{Status: disabledAccount, Who: row.login.Identity}
	}
	row.login.IsFull, row.login.IsDynamic = true, true
	p.Passwords.welcome(ctx)
	return row.login, nil
}

// byStatic checks a static token: HS256 with the server setting ParticipantTokenEncryptionKey, claim participant_uuid.
// Errors: pgx.ErrNoRows if no participant has it, *Refusal, or the database's.
func (p *Participants) byStatic(ctx context.Context, token string) (ParticipantLogin, error) {
	row, err := p.row(ctx, nil, &token)
	if err != nil {
		return ParticipantLogin{}, err
	}
	if row.key == nil || *row.key == "" { // an empty key would accept tokens of anybody
		return ParticipantLogin{}, errors.New("the server setting ParticipantTokenEncryptionKey is missing")
	}
	var claims participantClaims
	var options []jwt.ParserOption
	if p.Now != nil {
		options = append(options, jwt.WithTimeFunc(p.Now))
	}
	err = parse(token, &claims, []string{*row.key}, options...)
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return ParticipantLogin{}, &Refusal{Status: expiredToken, Who: row.login.Identity}
	case err != nil, claims.UUID != row.login.UUID:
		return ParticipantLogin{}, &Refusal{Status: invalidToken}
	case !row.isEnabled || !row.hasToken:
		return ParticipantLogin{}, &Refusal{Status: disabledAccount, Who: row.login.Identity}
	}
	return row.login, nil
}

// participantRow is a participant that is not deleted.
type participantRow struct {
	login     ParticipantLogin
	isEnabled bool
	hasToken  bool    // its static token is valid
	key       *string // of static tokens
}

func (p *Participants) row(ctx context.Context, uuid, token *string) (participantRow, error) {
	row := participantRow{login: ParticipantLogin{Identity: Identity{Principal: Principal{Kind: Participant}}}}
	err := p.Pool.QueryRow(ctx, participantAccountSQL, uuid, token).Scan(&row.login.ID, &row.login.UUID, &row.login.Name, &row.isEnabled, &row.hasToken,
		&row.login.ProjectID, &row.login.BaseToken, &row.key)
	if err != nil {
		return participantRow{}, fmt.Errorf("look the participant up: %w", err)
	}
	return row, nil
}

// Token signs a dynamic token. Errors: *Refusal if the participant is deleted or disabled, or the database's.
func (p *Participants) Token(ctx context.Context, id int32, lifetime time.Duration) (string, error) {
	var key, jti string
	var claims participantClaims
	err := p.Pool.QueryRow(ctx, participantTokenSQL, id).Scan(&key, &jti, &claims.UUID, &claims.Name)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", &Refusal{Status: disabledAccount}
	}
	if err != nil {
		return "", fmt.Errorf("make participant token: %w", err)
	}
	claims.ID, claims.RegisteredClaims = id, validity(p.Now, jti, lifetime)
	if key, err = p.Keys.signing(ctx, "participant", key); err != nil {
		return "", err
	}
	return sign(key, &claims)
}

// Logout closes the participant's sockets on all gateways, and ends its connect tokens and this dynamic token ("": none; a static one
// remains valid). Errors: the database's.
func (p *Participants) Logout(ctx context.Context, id Identity, token string) error {
	return p.Keys.logout(ctx, id, token)
}

// Disable invalidates a dynamic token. Errors: as Users.Disable.
func (p *Participants) Disable(ctx context.Context, token string) error {
	return p.Keys.disable(ctx, "participant", token)
}

// Stamp sets participant_lastonline. Errors: the database's.
func (p *Participants) Stamp(ctx context.Context, id int32) error {
	return stamp(ctx, p.Pool, Principal{Participant, id})
}

// SessionType is a session type of the projects of a participant or device, as returned at login.
type SessionType struct {
	ServiceID *int32 `json:"id_service"`
	ID        int32  `json:"id_session_type"`
	Category  int32  `json:"session_type_category"`
	Color     string `json:"session_type_color"`
	Name      string `json:"session_type_name"`

	// from OpenTera 1.3.1 on, and only for a type with a service
	ServiceKey  string `json:"session_type_service_key,omitempty"`
	ServiceUUID string `json:"session_type_service_uuid,omitempty"`
}

// SessionTypes lists the session types of the participant's project; never nil. Errors: the database's.
func (p *Participants) SessionTypes(ctx context.Context, id int32) (types []SessionType, err error) {
	if err := p.Pool.QueryRow(ctx, "SELECT terasocket.participant_session_types($1)", id).Scan(&types); err != nil {
		return nil, fmt.Errorf("list session types: %w", err)
	}
	return types, nil
}
