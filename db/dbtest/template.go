package dbtest

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"terasocket/db/opentera"
)

// Template describes the contents of a database at the start of a test.
type Template struct {
	// Name is a short word of a-z, 0-9 and _, different for each Fill of a test process: only the first Fill of a name is used.
	Name string

	// From is the template that this one starts as a copy of. Nil: an empty database.
	From *Template

	// Fill prepares the database at url, once per test process, and leaves no connection open. Nil: nothing to do.
	Fill func(ctx context.Context, url string) error
}

// Empty is a database without tables.
func Empty() Template { return Template{Name: "empty"} }

// OpenTera is a database with OpenTera's schema and the demo installation, on which the functions then are run in order, for example
// migrations. (dbtest cannot import those, since their tests import dbtest.) name is as in Template.
func OpenTera(name string, then ...func(ctx context.Context, url string) error) Template {
	return Template{Name: name, Fill: func(ctx context.Context, url string) error {
		if err := loadOpenTera(ctx, url); err != nil {
			return err
		}
		for _, f := range then {
			if err := f(ctx, url); err != nil {
				return err
			}
		}
		return nil
	}}
}

// QuickPasswords is a step for OpenTera: passwords stay the same, but their hashes take 4 rounds of bcrypt instead of 12. Under -race
// that is 15 ms instead of 4 s for each login.
func QuickPasswords(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range []string{
		"UPDATE t_users SET user_password = $1",
		"UPDATE t_participants SET participant_password = $1 WHERE participant_password IS NOT NULL",
	} {
		if _, err := conn.Exec(ctx, sql, opentera.DemoPasswordQuickHash); err != nil {
			return fmt.Errorf("quick passwords: %w", err)
		}
	}
	return nil
}

func loadOpenTera(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return opentera.Load(ctx, conn)
}
