package bridge

import (
	"context"
	"errors"
	"regexp"
	"time"

	"github.com/redis/go-redis/v9"

	"terasocket/access"
)

// Ages of OpenTera's tickets.
const (
	ticketLifetime = 60 * time.Second      // set by OpenTera's login
	unknownAge     = 5 * time.Minute       // assumed for a ticket without expiry: as far back as kicks are remembered
	roundedAge     = 10 * time.Millisecond // rounding error of Redis, which counts in milliseconds
)

// Tickets redeems the contents of websocket URLs: tickets of OpenTera's login, which are in its Redis, and our own connect
// tokens. All fields are required. Redeem is safe for concurrent use.
type Tickets struct {
	Redis  *redis.Client
	Tokens *access.Tokens
}

// A ticket is 128 hexadecimal digits; its value in Redis is the UUID of the principal that logged in.
var (
	ticketForm = regexp.MustCompile(`^[0-9a-f]{128}$`)
	uuidForm   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
)

// Redeem consumes a ticket or a connect token and returns its identity. Of any number of calls with the same one, on any
// gateways, one succeeds. Only what looks like a ticket is looked up in Redis: a client must not choose the key. A ticket of
// another kind, or of a principal that may not connect, stays until it expires, as in OpenTera. Errors: access.ErrRefused; or
// Redis' or the database's.
func (t *Tickets) Redeem(ctx context.Context, kind access.Kind, token string) (access.Identity, error) {
	if !ticketForm.MatchString(token) {
		return t.Tokens.Redeem(ctx, kind, token)
	}
	began := time.Now()
	uuid, left, err := t.look(ctx, token)
	if err != nil {
		return access.Identity{}, err
	}
	id, kicked, err := t.Tokens.TicketHolder(ctx, kind, uuid)
	switch {
	case err != nil:
		return access.Identity{}, err
	case kicked != nil && *kicked <= age(left)+time.Since(began): // since it was made, however long the database took
		return access.Identity{}, access.ErrRefused
	}
	if err := t.take(ctx, token); err != nil {
		return access.Identity{}, err
	}
	return id, nil
}

// look returns the UUID under a ticket and its remaining life, negative if it has no expiry.
func (t *Tickets) look(ctx context.Context, ticket string) (uuid string, left time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	// in this order a newer ticket of the same id cannot lend its life to an older one
	if left, err = t.Redis.PTTL(ctx, ticket).Result(); err != nil {
		return "", 0, inWords(t.Redis, "PTTL "+noTicket, err)
	}
	uuid, err = t.Redis.Get(ctx, ticket).Result()
	switch {
	case errors.Is(err, redis.Nil), err != nil && redis.HasErrorPrefix(err, "WRONGTYPE"), err == nil && !uuidForm.MatchString(uuid):
		return "", 0, access.ErrRefused
	case err != nil:
		return "", 0, inWords(t.Redis, "GET "+noTicket, err)
	}
	return uuid, left, nil
}

// age returns the greatest possible age of a ticket with this remaining life.
func age(left time.Duration) time.Duration {
	if left < 0 || left > ticketLifetime {
		return unknownAge
	}
	return ticketLifetime - left + roundedAge
}

// take deletes a ticket. Errors: access.ErrRefused if another call has taken it.
func (t *Tickets) take(ctx context.Context, ticket string) error {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	switch n, err := once(ctx, t.Redis, "del", ticket); {
	case err != nil:
		return inWords(t.Redis, "DEL "+noTicket, err)
	case n != 1:
		return access.ErrRefused
	}
	return nil
}
