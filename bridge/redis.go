// Package bridge connects to the Redis of a running OpenTera: it writes what OpenTera's modules and services publish to our
// log, and tells OpenTera's user manager who is connected here.
package bridge

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// Limits of one command. OpenTera's Redis is on the same machine or network.
const (
	dialTimeout    = 2 * time.Second
	commandTimeout = 2 * time.Second
)

// wanted describes a valid address.
const wanted = "the address must be redis://user:password@host:port/db, or rediss:// for TLS"

// Open returns a connection pool for OpenTera's Redis. It does not connect yet.
//
// The address is redis://user:password@host:port/db, or rediss:// for TLS; user, password, port (6379) and db (0) are optional.
// With TLS, the server's certificate is verified against the system's authorities, or those of ?ca=FILE (PEM); ?insecure=true
// disables verification. User and password are read from source at each new connection. Errors never contain the address, which
// may hold a password.
func Open(source func() (string, error)) (*redis.Client, error) {
	options, err := read(source)
	if err != nil {
		return nil, err
	}
	options.CredentialsProviderContext = func(context.Context) (user, password string, err error) {
		now, err := read(source)
		if err != nil {
			return "", "", err
		}
		return now.Username, now.Password, nil
	}
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = dialTimeout, commandTimeout, commandTimeout
	options.DialerRetries = 1     // of a dial; a command is retried on other connections
	options.PipelinePoolSize = -1 // one pool for everything, which knows whether Redis is up
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true // Redis 6 does not know CLIENT SETINFO
	options.Protocol = 2           // RESP3 is not needed either
	logging.Disable()              // it also returns what it would print to standard error
	return redis.NewClient(options), nil
}

func read(source func() (string, error)) (*redis.Options, error) {
	address, err := source()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(address, "redis://") && !strings.HasPrefix(address, "rediss://") {
		return nil, errors.New(wanted)
	}
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New(wanted + ": host or port is none, or a special character of the password is not written as %XX")
	}
	query := u.Query()
	ca, insecure := query.Get("ca"), query.Get("insecure")
	query.Del("ca")
	query.Del("insecure")
	if len(query) > 0 {
		return nil, errors.New("the address has a parameter other than ca=FILE and insecure=true")
	}
	u.RawQuery = ""
	options, err := redis.ParseURL(u.String())
	switch {
	case err != nil, options.DB < 0:
		return nil, errors.New(wanted + ": db is a number from 0 on")
	case insecure != "" && insecure != "true" && insecure != "false":
		return nil, errors.New("insecure is true or false")
	case options.TLSConfig == nil && (ca != "" || insecure != ""):
		return nil, errors.New("ca and insecure are for TLS: write rediss://")
	case ca != "" && insecure == "true":
		return nil, errors.New("ca and insecure exclude each other")
	}
	if ca != "" {
		if options.TLSConfig.RootCAs, err = authorities(ca); err != nil {
			return nil, err
		}
	}
	if options.TLSConfig != nil {
		options.TLSConfig.InsecureSkipVerify = insecure == "true" //nolint:gosec // requested explicitly
	}
	return options, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate", file)
	}
	return pool, nil
}

// sentOnce is a command that go-redis does not retry: it may have worked, with only its answer lost.
type sentOnce struct{ *redis.IntCmd }

func (sentOnce) NoRetry() bool { return true }

// once sends a command once: a retry would report that somebody else was first.
func once(ctx context.Context, client *redis.Client, args ...any) (int64, error) {
	command := sentOnce{redis.NewIntCmd(ctx, args...)}
	_ = client.Process(ctx, command) // command holds the error
	return command.Result()
}

// Ping checks that Redis answers. Errors: as Check.
func Ping(ctx context.Context, client *redis.Client) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return inWords(client, "PING", err)
	}
	return nil
}
