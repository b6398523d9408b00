package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Unreachable explains in one sentence, wrapping err, why a connection could not be made: pgx lists each of its attempts, with TLS and
// without, at each address of the host. Other errors are returned unchanged.
func Unreachable(err error) error {
	var failed *pgconn.ConnectError
	if !errors.As(err, &failed) {
		return err
	}
	return &unreachable{strings.ReplaceAll(err.Error(), failed.Error(), why(failed.Config, failed)), err}
}

type unreachable struct {
	text string
	err  error
}

func (e *unreachable) Error() string { return e.text }
func (e *unreachable) Unwrap() error { return e.err }

func why(config *pgconn.Config, err error) string {
	_, server := pgconn.NetworkAddress(config.Host, config.Port)
	var refused *pgconn.PgError
	var unknown *net.DNSError
	switch {
	case errors.As(err, &refused):
		switch refused.Code {
		case "28P01": // invalid_password
			return fmt.Sprintf("%s's password is refused by %s", config.User, server)
		case "3D000": // invalid_catalog_name
			return fmt.Sprintf("there is no database %s on %s", config.Database, server)
		case "53300": // too_many_connections
			return fmt.Sprintf("%s has no connection left (%s): raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower pool_max_conns in the URL",
				server, refused.Message)
		}
		return fmt.Sprintf("%s refuses the connection: %s", server, refused.Message)
	case errors.As(err, &unknown) && unknown.IsNotFound:
		return fmt.Sprintf("host %s is not known", unknown.Name)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist) && filepath.IsAbs(config.Host):
		return "nothing listens on " + server
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return server + " does not answer"
	}
	return fmt.Sprintf("%s cannot be connected to: %s", server, last(err))
}

// last returns the error of the last attempt.
func last(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // walks the tree itself
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			err = all[len(all)-1]
		case interface{ Unwrap() error }:
			if e.Unwrap() == nil {
				return err
			}
			err = e.Unwrap()
		default:
			return err
		}
	}
}
