package migrations_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const rolePassword = "role-password"

// newRole creates a role that may only log in. It is dropped, with its rights, at the end of the test.
func newRole(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	role := fmt.Sprintf("terasocket_test_role_%d", rand.Uint64())
	execOn(t, conn, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, rolePassword))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := conn.Exec(ctx, fmt.Sprintf("ROLLBACK; RESET ROLE; DROP OWNED BY %s CASCADE; DROP ROLE %s", role, role)); err != nil {
			t.Errorf("drop role: %v", err)
		}
	})
	return role
}

// withRole returns the URL of the same database for another role.
func withRole(databaseURL, role string) string {
	u, err := url.Parse(databaseURL)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(role, rolePassword)
	return u.String()
}
