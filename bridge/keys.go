package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Keys reads the keys with which OpenTera signs dynamic tokens, new at each of its starts, and its sets of disabled tokens, at
// each request. Redis is required. All methods are safe for concurrent use.
type Keys struct {
	Redis *redis.Client
}

// keyNames are OpenTera's names in Redis, by token kind. Services have no disabled tokens.
var keyNames = map[string]struct{ key, disabled string }{
	"user":        {"UserTokenAPIKey", "user_disabled_tokens"},
	"participant": {"ParticipantTokenAPIKey", "participant_disabled_tokens"},
	"service":     {"ServiceTokenAPIKey", ""},
}

// minKey is the minimum length of a key; OpenTera's have 32 characters. A shorter one could be guessed, an empty one admits
// anybody.
const minKey = 32

// ErrNoKeys means that Redis answers but holds no keys of OpenTera.
var ErrNoKeys = errors.New("OpenTera's signing keys are not in this database of Redis: OpenTera is stopped, or uses another one, or " +
	"Redis came back empty and OpenTera must be restarted")

// Look returns OpenTera's key "user", "participant" or "service", and whether this token ("": none) is in the set of disabled
// tokens. Errors: ErrNoKeys, or Redis'.
func (k *Keys) Look(ctx context.Context, name, token string) (key string, isDisabled bool, err error) {
	names, ok := keyNames[name]
	if !ok {
		return "", false, fmt.Errorf("OpenTera has no keys of the name %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	// the set first: when OpenTera stops, set and key are deleted together
	if token != "" && names.disabled != "" {
		if isDisabled, err = k.Redis.SIsMember(ctx, names.disabled, token).Result(); err != nil {
			return "", false, inWords(k.Redis, "SISMEMBER "+names.disabled, err)
		}
	}
	key, err = k.Redis.Get(ctx, names.key).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", false, ErrNoKeys
	case err != nil:
		return "", false, inWords(k.Redis, "GET "+names.key, err)
	case len(key) < minKey:
		return "", false, fmt.Errorf("%s in Redis is shorter than %d characters", names.key, minKey)
	}
	return key, isDisabled, nil
}

// Disable adds a token of a user or participant to OpenTera's set of disabled tokens; isFirst is false if it was already there.
// Errors: Redis'.
func (k *Keys) Disable(ctx context.Context, name, token string) (isFirst bool, err error) {
	set := keyNames[name].disabled
	if set == "" {
		return false, fmt.Errorf("OpenTera disables no tokens of the name %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	n, err := once(ctx, k.Redis, "sadd", set, token)
	if err != nil {
		return false, inWords(k.Redis, "SADD "+set, err)
	}
	return n == 1, nil
}
