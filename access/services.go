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
// keeps, claim service_uuid, exp honoured where it is given (OpenTera's sheet services, section 3).
type Services struct {
	Pool *pgxpool.Pool
}

//go:embed sql/service.sql
var serviceSQL string

// claims are those of a service token.
type claims struct {
	ServiceUUID string `json:"service_uuid"`
	jwt.RegisteredClaims
}

// maxServiceToken is far more than a token with these claims takes.
const maxServiceToken = 4 << 10

// Service says whose token it is. Key and service are asked for anew each time: a key that was replaced and a service
// that was disabled count at once.
// Errors: ErrUnauthorized for a token that is none, of another key or algorithm, expired, or of a service that does not
// exist, is disabled or deleted: the caller cannot tell which. Else the database's.
func (s *Services) Service(ctx context.Context, token string) (Service, error) {
	if token == "" || len(token) > maxServiceToken {
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
		var key string
		key, service, isKnown, databaseErr = s.lookUp(ctx, uuid)
		return []byte(key), databaseErr
	}, jwt.WithValidMethods([]string{"HS256"}))
	switch {
	case databaseErr != nil:
		return Service{}, fmt.Errorf("look the service up: %w", databaseErr)
	case err != nil, !isKnown:
		return Service{}, ErrUnauthorized
	}
	return service, nil
}

// lookUp gives the key of all tokens and the service with this UUID, if it may call us.
func (s *Services) lookUp(ctx context.Context, uuid string) (key string, service Service, isKnown bool, err error) {
	var id *int32
	var serviceKey *string
	if err = s.Pool.QueryRow(ctx, serviceSQL, uuid).Scan(&key, &id, &serviceKey); err != nil {
		return "", Service{}, false, err
	}
	if len(key) < 32 { // whoever has tampered with the table: an empty key would let anybody in
		return "", Service{}, false, errors.New("the signing key of service tokens is too short")
	}
	if id == nil {
		return key, Service{}, false, nil
	}
	return key, Service{ID: *id, UUID: uuid, Key: *serviceKey}, true, nil
}
