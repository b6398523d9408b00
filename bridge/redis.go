// Package bridge is the Redis side of a running OpenTera: what its modules and services publish becomes rows of our log, and
// OpenTera's user manager is told who is connected here.
package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Time limits of one command. OpenTera's Redis is on the same machine or the same network.
const (
	dialTimeout    = 2 * time.Second
	commandTimeout = 2 * time.Second
)

// Open returns a pool of connections to the Redis of OpenTera. It does not connect yet.
//
// The address is redis://user:password@host:port/db, or rediss:// for TLS; user, password, port (6379) and db (0) may be left
// out. An error never contains the address: it may hold a password.
func Open(address string) (*redis.Client, error) {
	if !strings.HasPrefix(address, "redis://") && !strings.HasPrefix(address, "rediss://") {
		return nil, errors.New("the address must be redis://user:password@host:port/db, or rediss:// for TLS")
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		return nil, fmt.Errorf("the address must be redis://user:password@host:port/db, or rediss:// for TLS: %s", withoutAddress(err))
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, commandTimeout, commandTimeout
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true // Redis 6 does not know CLIENT SETINFO
	options.Protocol = 2           // nor is RESP3 needed
	return redis.NewClient(options), nil
}

// withoutAddress leaves of an error of url.Parse what is wrong, and not with which text.
func withoutAddress(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// Ping says whether Redis answers.
func Ping(ctx context.Context, client *redis.Client) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ask Redis: %w", err)
	}
	return nil
}
