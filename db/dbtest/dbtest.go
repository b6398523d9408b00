package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/db/embedded"
)

// New returns the URL of a new database, a clone of template. It is dropped at the end of the test, even if clients are connected.
func New(t testing.TB, template Template) (url string) {
	t.Helper()
	if err := shared.start(); err != nil {
		t.Fatalf("no database to test with: %v", err)
	}
	name, err := shared.clone(t.Context(), template)
	if name != "" {
		t.Cleanup(func() {
			if err := shared.drop(name); err != nil {
				t.Errorf("drop test database: %v", err)
			}
		})
	}
	if err != nil {
		t.Fatalf("new test database: %v", err)
	}
	return shared.url(name)
}

// Server returns a server with these settings for one test, for tests that restart, copy or replicate a server. It ends with the test.
func Server(t testing.TB, settings map[string]string) *embedded.Server {
	t.Helper()
	server, err := startServer(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Conn returns a connection that is closed at the end of the test.
func Conn(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatalf("connect to test database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn.Close(ctx)
	})
	return conn
}

// Pool returns a pool of at most 10 connections that is closed at the end of the test. A connection that has not been released then fails
// the test.
func Pool(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := newPool(url)
	if err != nil {
		t.Fatalf("pool on test database: %v", err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Errorf("the test ends with %d connections not released to the pool", pool.Stat().AcquiredConns())
		}
	})
	return pool
}

func newPool(url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 10
	return pgxpool.NewWithConfig(context.Background(), config)
}
