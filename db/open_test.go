package db_test

import (
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"terasocket/db"
	"terasocket/db/dbtest"
)

// server accepts connections one after the other until the test ends. It returns its address.
func server(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
			serve(conn)
		}
	}()
	return listener.Addr().String()
}

// mute is a server that accepts every login and answers no statement, like a pooler whose database is down. It returns its URL.
func mute(t *testing.T) string {
	t.Helper()
	address := server(t, func(conn net.Conn) {
		backend := pgproto3.NewBackend(conn, conn)
		if _, err := backend.ReceiveStartupMessage(); err != nil {
			return
		}
		backend.Send(&pgproto3.AuthenticationOk{})
		backend.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
		backend.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		_ = backend.Flush()
	})
	return "postgres://anybody@" + address + "/x?sslmode=disable"
}

// This takes the 10 s that Open may take.
func TestOpenTimesOut(t *testing.T) {
	t.Parallel()
	_, err := db.Open(t.Context(), mute(t))
	if err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Error(err)
	}
}

// Presence and connect tokens need statements that see what others have committed, whatever the database's default is: behind a pooler,
// whose connections are not ours to set, an error says how.
func TestIsolation(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, dbtest.Empty())
	conn := dbtest.Conn(t, url)
	dbtest.Exec(t, conn, "ALTER DATABASE "+pgx.Identifier{conn.Config().Database}.Sanitize()+" SET default_transaction_isolation = 'serializable'")
	pool, err := db.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if level := dbtest.One[string](t, pool, "SHOW transaction_isolation"); level != "read committed" {
		t.Errorf("statements are %s", level)
	}
	_, err = db.Open(t.Context(), dbtest.PgBouncer(t, url, "transaction").URL)
	if err == nil || !strings.Contains(err.Error(), `ALTER ROLE "postgres" SET default_transaction_isolation = 'read committed'`) {
		t.Error(err)
	}
}

func TestGivesExecMode(t *testing.T) {
	t.Parallel()
	for databaseURL, want := range map[string]bool{
		"postgres://u:default_query_exec_mode@h/x":                false,
		"postgres://u:p@h/x?default_query_exec_mode=exec":         true,
		"host=h dbname=x default_query_exec_mode=simple_protocol": true,
		"host=h dbname=x password=default_query_exec_mode":        false,
	} {
		if got, err := db.GivesExecMode(databaseURL); got != want || err != nil {
			t.Errorf("%s: %v, %v", databaseURL, got, err)
		}
	}
	if _, err := db.GivesExecMode("postgres://%zz"); err == nil {
		t.Error("a URL that cannot be read is taken")
	}
}
