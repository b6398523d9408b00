package db

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Source returns a database URL. It is asked at each new connection, so that a password changed in its file takes effect.
type Source func() (databaseURL string, err error)

// Fixed returns a Source of a constant URL.
func Fixed(databaseURL string) Source {
	return func() (string, error) { return databaseURL, nil }
}

// settings is a parsed database URL.
type settings struct {
	*pgxpool.Config
	given map[string]string // the URL's parameters for pgx itself: pool_*, default_query_exec_mode
}

// read parses the source's current URL.
func (s Source) read() (settings, error) {
	databaseURL, err := s()
	if err != nil {
		return settings{}, err
	}
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return settings{}, fmt.Errorf("read the database URL: %w", err)
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	plain, err := pgconn.ParseConfig(databaseURL) // knows no parameters of pgx itself, and keeps them as run-time parameters
	if err != nil {
		return settings{}, fmt.Errorf("read the database URL: %w", err)
	}
	return settings{config, plain.RuntimeParams}, nil
}

// GivesExecMode reports whether a database URL sets default_query_exec_mode. Errors: an invalid URL.
func GivesExecMode(databaseURL string) (bool, error) {
	s, err := Fixed(databaseURL).read()
	return s.has("default_query_exec_mode"), err
}

func (s settings) has(parameter string) bool {
	return strings.TrimSpace(s.given[parameter]) != ""
}

// renew updates a new connection to the current settings of the source, but keeps its tracer, query mode and run-time parameters.
func (s Source) renew(_ context.Context, config *pgx.ConnConfig) error {
	now, err := s.read()
	if err != nil {
		return err
	}
	fresh := now.ConnConfig
	fresh.Tracer, fresh.DefaultQueryExecMode = config.Tracer, config.DefaultQueryExecMode
	fresh.RuntimeParams = config.RuntimeParams
	*config = *fresh
	return nil
}
