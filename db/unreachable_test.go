package db_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"terasocket/db"
)

// refusing is a server without TLS that refuses everybody with this SQLSTATE. It returns its address.
func refusing(t *testing.T, code string) string {
	t.Helper()
	return server(t, func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		backend := pgproto3.NewBackend(conn, conn)
		message, err := backend.ReceiveStartupMessage()
		if _, ok := message.(*pgproto3.SSLRequest); ok && err == nil {
			_, _ = conn.Write([]byte("N"))
		} else if err == nil {
			backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "so it says"})
			_ = backend.Flush()
		}
	})
}

// A failed connection is explained in one sentence, however often pgx has tried.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, test := range []struct{ address, parameters, want string }{
		{refusing(t, "28P01"), "", "ana's password is refused by ADDRESS"},
		{refusing(t, "3D000"), "", "there is no database d on ADDRESS"},
		{refusing(t, "53300"), "", "ADDRESS has no connection left (so it says): raise max_connections, or the CONNECTION LIMIT of the role or the database, or lower pool_max_conns in the URL"},
		{refusing(t, "28000"), "", "ADDRESS refuses the connection: so it says"},
		{refusing(t, "28000"), "?sslmode=require", "ADDRESS cannot be connected to: server refused TLS connection"},
		{silent.Addr().String(), "?connect_timeout=1", "ADDRESS does not answer"},
		{"127.0.0.1:1", "", "nothing listens on ADDRESS"},
		{"", "?host=/nonexistent&port=7", "nothing listens on /nonexistent/.s.PGSQL.7"},
		{"nohost.invalid", "", "host nohost.invalid is not known"},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			_, err := pgx.Connect(t.Context(), "postgres://ana:hush@"+test.address+"/d"+test.parameters)
			got := db.Unreachable(fmt.Errorf("ask: %w", err))
			var failed *pgconn.ConnectError
			if want := "ask: " + strings.ReplaceAll(test.want, "ADDRESS", test.address); got.Error() != want || !errors.As(got, &failed) {
				t.Errorf("%v\nwant %s", got, want)
			}
		})
	}
	if other := errors.New("x"); db.Unreachable(other) != other || db.Unreachable(nil) != nil {
		t.Error("another error is changed")
	}
}
