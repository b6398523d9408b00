package eventlog_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"terasocket/eventlog"
)

// A missing or disabled trigger is logged once, and counted until it is back; a table with new columns is captured with them.
func TestTriggers(t *testing.T) {
	g := setup(t, options{silent: true})
	var log bytes.Buffer
	registry := prometheus.NewRegistry()
	triggers := &eventlog.Triggers{Pool: g.pool, Every: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}
	triggers.Register(registry)
	look := func(missing float64, says string) {
		t.Helper()
		log.Reset()
		if err := triggers.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil || families[0].GetMetric()[0].GetGauge().GetValue() != missing {
			t.Errorf("%v, %v; want %v missing", families, err, missing)
		}
		if says == "" && log.Len() > 0 || !strings.Contains(log.String(), says) {
			t.Errorf("log %q, want %q", log.String(), says)
		}
	}
	look(0, "")
	g.exec("ALTER TABLE t_sites DISABLE TRIGGER terasocket_update")
	g.exec("DROP TRIGGER terasocket_delete ON t_projects")
	look(2, "run `terasocket migrate up`")
	look(2, "")
	g.exec("ALTER TABLE t_sites ENABLE TRIGGER terasocket_update")
	g.exec("SELECT terasocket.attach_table('t_projects')")
	look(0, "all triggers are in place again")
	g.exec("ALTER TABLE t_sites DROP COLUMN site_2fa_required")
	look(0, "other columns")
	look(0, "")

	g.pool.Close()
	if err := triggers.Look(t.Context()); err == nil {
		t.Error("closed: no error")
	}
}
