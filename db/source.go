package db

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Source gives a database URL. It is asked at each new connection, so that a password which was changed in its file counts
// from then on.
type Source func() (databaseURL string, err error)

// Fixed is a URL that stays.
func Fixed(databaseURL string) Source {
	return func() (string, error) { return databaseURL, nil }
}

// settings is a database URL, read.
type settings struct {
	*pgxpool.Config
	given map[string]string // parameters of the URL that are pgx's own: pool_*, default_query_exec_mode
}

// read asks the source.
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
	plain, err := pgconn.ParseConfig(databaseURL) // knows none of pgx's own, and leaves them as parameters
	if err != nil {
		return settings{}, fmt.Errorf("read the database URL: %w", err)
	}
	return settings{config, plain.RuntimeParams}, nil
}

// GivesExecMode says whether a database URL names a default_query_exec_mode. Errors: one that cannot be read.
func GivesExecMode(databaseURL string) (bool, error) {
	s, err := Fixed(databaseURL).read()
	return s.has("default_query_exec_mode"), err
}

func (s settings) has(parameter string) bool {
	return strings.TrimSpace(s.given[parameter]) != ""
}

// renew gives a connection that is to be made what the source says now; how statements are sent, and what watches them,
// stays.
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
