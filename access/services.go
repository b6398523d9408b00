package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Service is one of the services that belong to an OpenTera installation.
type Service struct {
	ID   int32
	UUID string
	Key  string // "VideoRehabService"
}

// String gives kind and key of the row, "service:4".
func (s Service) String() string { return fmt.Sprintf("service:%d", s.ID) }

// Services checks the tokens that services sign for themselves: HS256 with the key that terasocket.service_token_key()
// gives, or one before it that has not retired, or with the shared one alone; claim service_uuid, exp honoured where it is given
// (OpenTera's sheet services, section 3).
type Services struct {
	Pool   *pgxpool.Pool
	Shared SharedKeys // nil: ours alone
}

//go:embed sql/service.sql
var serviceSQL string

// claims are those of a service token.
type claims struct {
	ServiceUUID string `json:"service_uuid"`
	jwt.RegisteredClaims
}

// Service says whose token it is. Key and service are asked for anew each time: a key that was replaced and a service
// that was disabled count at once.
// Errors: ErrUnauthorized for a token that is malformed, of another key or algorithm, expired, or of a service that does not
// exist, is disabled or deleted: the caller cannot tell which. Else the database's or of Shared.
func (s *Services) Service(ctx context.Context, token string) (Service, error) {
	if token == "" || len(token) > maxToken {
		return Service{}, ErrUnauthorized
	}
	var service Service
	var databaseErr error
	var isKnown bool
	_, err := jwt.ParseWithClaims(token, &claims{}, func(t *jwt.Token) (any, error) {
		// not verified yet: the UUID is good for a look-up only
		uuid := t.Claims.(*claims).ServiceUUID
		if uuid == "" || len(uuid) > 36 || strings.Contains(uuid, "\x00") {
			return nil, ErrUnauthorized
		}
		var keys jwt.VerificationKeySet
		keys, service, isKnown, databaseErr = s.lookUp(ctx, uuid)
		return keys, databaseErr
	}, jwt.WithValidMethods([]string{"HS256"}))
	switch {
	case databaseErr != nil:
		return Service{}, fmt.Errorf("look the service up: %w", databaseErr)
	case err != nil, !isKnown:
		return Service{}, ErrUnauthorized
	}
	return service, nil
}

// lookUp gives the keys of all tokens and the service with this UUID, if it may call us.
func (s *Services) lookUp(ctx context.Context, uuid string) (keys jwt.VerificationKeySet, service Service, isKnown bool, err error) {
	var texts []string
	var id *int32
	var serviceKey *string
	if err = s.Pool.QueryRow(ctx, serviceSQL, uuid).Scan(&texts, &id, &serviceKey); err != nil {
		return keys, Service{}, false, err
	}
	if s.Shared != nil {
		key, _, err := s.Shared.Look(ctx, "service", "")
		if err != nil {
			return keys, Service{}, false, err
		}
		texts = []string{key}
	}
	for _, key := range texts {
		if len(key) < 32 { // whoever has tampered with the table: an empty key would let anybody in
			return keys, Service{}, false, errors.New("a signing key of service tokens is too short")
		}
		keys.Keys = append(keys.Keys, []byte(key))
	}
	if id == nil {
		return keys, Service{}, false, nil
	}
	return keys, Service{ID: *id, UUID: uuid, Key: *serviceKey}, true, nil
}
