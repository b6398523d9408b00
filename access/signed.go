package access

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
)

// Dynamic tokens: HS256 JWTs signed with our key, valid until they expire or are disabled (OpenTera's sheet login, section 7).

// issuer is OpenTera's, in every token made by a server.
const issuer = "TeraServer"

// maxToken is far longer than any token.
const maxToken = 4 << 10

//go:embed sql/token_check.sql
var tokenCheckSQL string

// isToken reports whether text can be a JWT at all. Nothing else reaches the database or a parser: Go's base64 skips line feeds, so that
// one token would have many spellings, and a disabled one could be used again under another.
func isToken(text string) bool {
	if len(text) > maxToken || strings.Count(text, ".") != 2 {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

// sign signs a token. Its header is exactly OpenTera's: no key id.
func sign(key string, claims jwt.Claims) (string, error) {
	if len(key) < 32 { // the table was tampered with
		return "", errors.New("the signing key is too short")
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key))
}

// parse verifies a token by any of the keys, and returns its claims. An empty list or key verifies nothing.
func parse(token string, claims jwt.Claims, keys []string, options ...jwt.ParserOption) error {
	good := jwt.VerificationKeySet{}
	for _, key := range keys {
		if key != "" {
			good.Keys = append(good.Keys, []byte(key))
		}
	}
	// strict: the last character of a signature has unused bits, which would allow another spelling
	options = append(options, jwt.WithValidMethods([]string{"HS256"}), jwt.WithStrictDecoding())
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return good, nil }, options...)
	return err
}

// check checks that we have signed a token for that name, and reads its claims. Errors: *Refusal, with the claims read if the token has
// merely expired; or the database's.
func (k *Keys) check(ctx context.Context, name, token string, claims jwt.Claims, now func() time.Time) error {
	if !isToken(token) {
		return &Refusal{Status: invalidToken}
	}
	keys, isDisabled, err := k.verifying(ctx, name, token)
	if err != nil {
		return err
	}
	if isDisabled {
		return &Refusal{Status: invalidToken}
	}
	options := []jwt.ParserOption{jwt.WithExpirationRequired()}
	if now != nil {
		options = append(options, jwt.WithTimeFunc(now))
	}
	switch err := parse(token, claims, keys, options...); {
	case errors.Is(err, jwt.ErrTokenExpired):
		return &Refusal{Status: expiredToken}
	case err != nil:
		return &Refusal{Status: invalidToken}
	}
	return nil
}

// ending returns the hash by which a token is disabled, nil if we have not signed it for that name: such a token is refused anyway.
// Errors: the database's.
func (k *Keys) ending(ctx context.Context, name, token string) (hash []byte, expires *time.Time, err error) {
	if !isToken(token) {
		return nil, nil, nil
	}
	keys, _, err := k.verifying(ctx, name, token)
	if err != nil {
		return nil, nil, err
	}
	var claims jwt.RegisteredClaims
	if parse(token, &claims, keys, jwt.WithoutClaimsValidation()) != nil || claims.ExpiresAt == nil {
		return nil, nil, nil
	}
	return tokenHash(token), &claims.ExpiresAt.Time, nil
}

// verifying returns the keys that may have signed a token, and whether it is disabled. Errors: the database's or those of Shared.
func (k *Keys) verifying(ctx context.Context, name, token string) (keys []string, isDisabled bool, err error) {
	if err := k.Pool.QueryRow(ctx, tokenCheckSQL, name, tokenHash(token)).Scan(&isDisabled, &keys); err != nil {
		return nil, false, fmt.Errorf("check token: %w", err)
	}
	if k.Shared == nil {
		return keys, isDisabled, nil
	}
	key, isDisabledThere, err := k.Shared.Look(ctx, name, token)
	return []string{key}, isDisabled || isDisabledThere, err
}

// signing returns the signing key: the shared one, or ours from the database.
func (k *Keys) signing(ctx context.Context, name, ours string) (string, error) {
	if k.Shared == nil {
		return ours, nil
	}
	key, _, err := k.Shared.Look(ctx, name, "")
	return key, err
}

// disable invalidates a token. Errors: *Refusal if it was disabled before, or if its key no longer verifies, since no other token must be
// issued for it; the database's or those of Shared.
func (k *Keys) disable(ctx context.Context, name, token string) error {
	hash, expires, err := k.ending(ctx, name, token)
	if err == nil && hash == nil {
		err = &Refusal{Status: invalidToken}
	}
	if err != nil {
		return err
	}
	isFirst, isFirstThere := false, true
	err = pgx.BeginFunc(ctx, k.Pool, func(tx pgx.Tx) (err error) { // at both servers or neither
		if err := tx.QueryRow(ctx, "SELECT terasocket.disable_token($1, $2)", hash, expires).Scan(&isFirst); err != nil {
			return err
		}
		if k.Shared != nil {
			isFirstThere, err = k.Shared.Disable(ctx, name, token)
		}
		return err
	})
	switch {
	case err != nil:
		return fmt.Errorf("disable token: %w", err)
	case !isFirst || !isFirstThere:
		return &Refusal{Status: invalidToken}
	}
	return nil
}

// logout ends everything that would let a principal in without credentials, including its token ("": none), and closes its sockets on all
// gateways.
func (k *Keys) logout(ctx context.Context, id Identity, token string) error {
	hash, expires, err := k.ending(ctx, id.Kind.String(), token)
	if err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, k.Pool, func(tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, "SELECT terasocket.logout($1, $2, $3, $4, $5)", id.Kind.String(), id.ID, id.UUID, hash, expires); err != nil {
			return err
		}
		if k.Shared != nil && hash != nil {
			_, err = k.Shared.Disable(ctx, id.Kind.String(), token)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

func tokenHash(token string) []byte {
	hash := sha256.Sum256([]byte(token))
	return hash[:]
}

// validity returns the claims about time and issuer of a new token.
func validity(now func() time.Time, jti string, lifetime time.Duration) jwt.RegisteredClaims {
	if now == nil {
		now = time.Now
	}
	at := now()
	return jwt.RegisteredClaims{Issuer: issuer, ID: jti, IssuedAt: jwt.NewNumericDate(at), ExpiresAt: jwt.NewNumericDate(at.Add(lifetime))}
}
