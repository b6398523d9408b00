package eventlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/proto/event"
)

// described says what was tried, and marks an error that to try again does not cure: of class 42 (a table, column or
// function that is not there, a right that this role lacks) or 3F (a schema).
func described(op string, err error) error {
	if code := sqlState(err); strings.HasPrefix(code, "42") || strings.HasPrefix(code, "3F") {
		return fmt.Errorf("%s: %w: %w", op, event.ErrUnusable, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// sqlState gives the SQLSTATE of an error, "" when it is not the server's.
func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}
