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

// Service is a service of the OpenTera installation.
type Service struct {
	ID   int32
	UUID string
	Key  string // "VideoRehabService"
}

// String returns kind and id: "service:4".
func (s Service) String() string { return fmt.Sprintf("service:%d", s.ID) }

// Services checks the tokens that services sign themselves: HS256 with the key of terasocket.service_token_key(), or an older one that
// has not retired, or only the shared one; claim service_uuid, and exp if present (OpenTera's sheet services, section 3).
type Services struct {
	Pool   *pgxpool.Pool
	Shared SharedKeys // nil: only our own keys
}

//go:embed sql/service.sql
var serviceSQL string

// claims are the claims of a service token.
type claims struct {
	ServiceUUID string `json:"service_uuid"`
	jwt.RegisteredClaims
}

// Service authenticates a service by its token. Key and service are looked up each time: a replaced key and a disabled service count at
// once.
// Errors: ErrUnauthorized for a token that is malformed, expired, of another key or algorithm, or of an unknown, disabled or deleted
// service: the caller cannot tell which. Otherwise the database's or those of Shared.
func (s *Services) Service(ctx context.Context, token string) (Service, error) {
	if token == "" || len(token) > maxToken {
		return Service{}, ErrUnauthorized
	}
	var service Service
	var databaseErr error
	var isKnown bool
	_, err := jwt.ParseWithClaims(token, &claims{}, func(t *jwt.Token) (any, error) {
		// not verified yet: the UUID is used for the look-up only
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

// lookUp returns the verification keys and the service with this UUID, if it may call us.
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
		if len(key) < 32 { // the table was tampered with: an empty key would let anybody in
			return keys, Service{}, false, errors.New("a signing key of service tokens is too short")
		}
		keys.Keys = append(keys.Keys, []byte(key))
	}
	if id == nil {
		return keys, Service{}, false, nil
	}
	return keys, Service{ID: *id, UUID: uuid, Key: *serviceKey}, true, nil
}
