package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// mustTurnAway checks that new clients get 503 with Retry-After.
func (s *served) mustTurnAway(address string) {
	s.t.Helper()
	conn, response, err := gatewaytest.Dial(s.t.Context(), address)
	if err == nil {
		_ = conn.Close()
		s.t.Fatal("a client was accepted")
	}
	if response == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		s.t.Errorf("a new client got %v %v, want 503 with Retry-After", err, response)
	}
}

func TestNotReadyWithAnotherSchema(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()))
	for _, tt := range []struct{ change, undo, reason string }{
		{"UPDATE terasocket.functions SET compatibility = compatibility + 1", "UPDATE terasocket.functions SET compatibility = compatibility - 1", "newer than this binary"},
		{"UPDATE terasocket.functions SET compatibility = compatibility - 1", "UPDATE terasocket.functions SET compatibility = compatibility + 1", "older than this binary"},
		{"UPDATE terasocket.schema_migrations SET dirty = true", "UPDATE terasocket.schema_migrations SET dirty = false", "interrupted"},
		{"ALTER TABLE terasocket.schema_migrations RENAME TO elsewhere", "ALTER TABLE terasocket.elsewhere RENAME TO schema_migrations", "not installed in this database"},
	} {
		gateway.waitReady(http.StatusOK, "ready")
		gateway.exec(tt.change)
		gateway.waitReady(http.StatusServiceUnavailable, tt.reason)
		gateway.exec(tt.undo)
	}
	gateway.waitReady(http.StatusOK, "ready")
	theSchemaIsGone(t, gateway)
}

// A gateway whose schema is gone reports it in one sentence, not for everything that fails.
func theSchemaIsGone(t *testing.T, gateway *served) {
	if gateway.Log.Count("level=ERROR") > 0 {
		t.Fatalf("its log before:\n%s", &gateway.Log)
	}
	gateway.login(opentera.DemoProjectAdmin, "")
	dbtest.Eventually(t, "the schema is dropped: the gateway's statements may deadlock with it", func() bool {
		_, err := gateway.conn().Exec(t.Context(), "DROP SCHEMA terasocket CASCADE")
		return err == nil
	})
	gateway.waitReady(http.StatusServiceUnavailable, "terasocket is not installed in this database")
	dbtest.Eventually(t, "it says so", func() bool { return gateway.Log.Count("terasocket was taken out of this database") > 0 })
	time.Sleep(5 * time.Second) // a poll, and a renewal of its lease
	if gateway.Log.Count("level=ERROR") != 1 || gateway.Log.Count("does not exist") > 0 {
		t.Errorf("its log:\n%s", &gateway.Log)
	}
}

// A gateway that cannot begin repeats why, and begins as soon as it can.
func TestAGatewayThatWaitsToBeginSaysWhy(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t, migrated())
	tx, err := dbtest.Conn(t, url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Exec(t, tx.Conn(), "LOCK TABLE terasocket.announcer IN EXCLUSIVE MODE") // an announcement that does not end
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	path, err := gatewaytest.Program()
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan error, 1)
	go func() {
		gateway, err := gatewaytest.Start(t.Context(), gatewaytest.Config{Program: path, Database: url, Args: []string{"--plain-http"}, Stderr: log})
		if err == nil {
			gateway.Kill()
		}
		began <- err
	}()
	dbtest.Eventually(t, "it says that it is not ready, and why", func() bool {
		said, err := os.ReadFile(log.Name())
		return err == nil && bytes.Contains(said, []byte("not ready yet")) && bytes.Contains(said, []byte("no announcer has begun an epoch"))
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-began; err != nil {
		t.Error(err)
	}
}
