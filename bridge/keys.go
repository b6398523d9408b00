package bridge

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Keys are those that OpenTera signs dynamic tokens with, made anew at each of its starts, and its sets of tokens that are
// good no more. They are read for each request. Redis is needed. All methods may be called at once.
type Keys struct {
	Redis *redis.Client
}

// keyNames are OpenTera's, by whose tokens they are of. Services have no disabled tokens.
var keyNames = map[string]struct{ key, disabled string }{
	"user":        {"UserTokenAPIKey", "user_disabled_tokens"},
	"participant": {"ParticipantTokenAPIKey", "participant_disabled_tokens"},
	"service":     {"ServiceTokenAPIKey", ""},
}

// minKey is how long a key is at least; OpenTera makes 32 characters. A shorter one would be guessed, an empty one let anybody in.
const minKey = 32

// ErrNoKeys says that Redis answers and OpenTera has no keys there.
var ErrNoKeys = errors.New("OpenTera's signing keys are not in this database of Redis: OpenTera is stopped, or uses another one, or " +
	"Redis came back empty and OpenTera must be restarted")

// Look gives OpenTera's key of a name, "user", "participant" or "service", and whether this token ("": none) is in its set of
// disabled ones. Errors: ErrNoKeys, or Redis'.
func (k *Keys) Look(ctx context.Context, name, token string) (key string, isDisabled bool, err error) {
	names, ok := keyNames[name]
	if !ok {
		return "", false, fmt.Errorf("OpenTera has no keys of the name %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	// the set first: a stop of OpenTera empties it, together with the key
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

// Disable puts a token of a user or participant into OpenTera's set of disabled ones; isFirst is false when it was there.
// Errors: Redis'.
func (k *Keys) Disable(ctx context.Context, name, token string) (isFirst bool, err error) {
	set := keyNames[name].disabled
	if set == "" {
		return false, fmt.Errorf("OpenTera disables no tokens of the name %q", name)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	n, err := k.Redis.SAdd(ctx, set, token).Result()
	if err != nil {
		return false, inWords(k.Redis, "SADD "+set, err)
	}
	return n == 1, nil
}
