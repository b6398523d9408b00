package eventlog

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/proto/event"
)

// described wraps err with the operation. It adds ErrUnusable to errors that a retry does not cure: class 42 (a missing table, column,
// function or privilege) and 3F (a missing schema).
func described(op string, err error) error {
	if code := sqlState(err); strings.HasPrefix(code, "42") || strings.HasPrefix(code, "3F") {
		return fmt.Errorf("%s: %w: %w", op, event.ErrUnusable, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}

// sqlState returns the SQLSTATE of an error, or "" if it did not come from the server.
func sqlState(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}
