// Package bridge is the Redis side of a running OpenTera: what its modules and services publish becomes rows of our log, and
// OpenTera's user manager is told who is connected here.
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

// Time limits of one command. OpenTera's Redis is on the same machine or the same network.
const (
	dialTimeout    = 2 * time.Second
	commandTimeout = 2 * time.Second
)

// What an address must look like.
const wanted = "the address must be redis://user:password@host:port/db, or rediss:// for TLS"

// Open returns a pool of connections to the Redis of OpenTera. It does not connect yet.
//
// The address is redis://user:password@host:port/db, or rediss:// for TLS; user, password, port (6379) and db (0) may be left
// out. With TLS, the server's certificate is verified by the authorities that the system knows, or by those of ?ca=FILE (PEM);
// ?insecure=true verifies nothing. User and password are read from the source at each new connection. An error never contains
// the address: it may hold a password.
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
	options.DialerRetries = 1     // of a dial; a command is tried again on other connections
	options.PipelinePoolSize = -1 // one pool, which knows whether Redis is there, for everything
	options.ContextTimeoutEnabled = true
	options.DisableIdentity = true // Redis 6 does not know CLIENT SETINFO
	options.Protocol = 2           // nor is RESP3 needed
	logging.Disable()              // what it would print to standard error, it returns as well
	return redis.NewClient(options), nil
}

// read reads the address.
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
		options.TLSConfig.InsecureSkipVerify = insecure == "true" //nolint:gosec // asked for by name
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

// Ping says whether Redis answers. Errors: as Check.
func Ping(ctx context.Context, client *redis.Client) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return inWords(client, "PING", err)
	}
	return nil
}
