package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// allowed lists which of our packages a package may import (docs/architecture.md). db and migrations are plumbing, without
// knowledge of the domain.
var allowed = map[string][]string{
	"terasocket/migrations":                {},
	"terasocket/migrations/genmessages":    {"terasocket/proto/opentera"},
	"terasocket/proto/opentera":            {},
	"terasocket/proto/terasocket":          {},
	"terasocket/proto/generate":            {},
	"terasocket/proto/event":               {"terasocket/proto/opentera", "terasocket/proto/terasocket"},
	"terasocket/eventlog":                  {"terasocket/db", "terasocket/proto/event", "terasocket/access"},
	"terasocket/db":                        {},
	"terasocket/db/embedded":               {},
	"terasocket/db/opentera":               {},
	"terasocket/db/opentera/gendemo":       {},
	"terasocket/db/dbtest":                 {"terasocket/db/embedded", "terasocket/db/opentera"},
	"terasocket/access":                    {"terasocket/proto/event", "terasocket/proto/opentera"},
	"terasocket/ws":                        {"terasocket/access", "terasocket/proto/event", "terasocket/proto/opentera", "terasocket/proto/terasocket"},
	"terasocket/api":                       {"terasocket/ws", "terasocket/access", "terasocket/proto/event", "terasocket/proto/opentera"},
	"terasocket/presence":                  {"terasocket/access", "terasocket/proto/event"},
	"terasocket/audit":                     {"terasocket/access"},
	"terasocket/bridge":                    {"terasocket/access", "terasocket/proto/event", "terasocket/proto/opentera"},
	"terasocket/bridge/standin":            {"terasocket/db/embedded", "terasocket/proto/opentera"},
	"terasocket/doctor":                    {"terasocket/audit", "terasocket/bridge", "terasocket/access", "terasocket/api", "terasocket/db", "terasocket/eventlog", "terasocket/migrations", "terasocket/presence"},
	"terasocket/console":                   {"terasocket/access", "terasocket/doctor", "terasocket/proto/opentera"},
	"terasocket/examples/go":               {"terasocket/proto/opentera", "terasocket/proto/terasocket"},
	"terasocket/cmd/terasocket/load":       {},
	"terasocket/cmd/terasocket/interleave": {}, // only tests: it runs the program
	"terasocket/cmd/terasocket/chaos":      {}, // likewise
	"terasocket/cmd/terasocket": {"terasocket/cmd/terasocket/load", "terasocket/api", "terasocket/audit", "terasocket/bridge", "terasocket/bridge/standin", "terasocket/console", "terasocket/doctor", "terasocket/ws", "terasocket/presence", "terasocket/access", "terasocket/proto/event",
		"terasocket/proto/opentera", "terasocket/proto/terasocket", "terasocket/db", "terasocket/eventlog", "terasocket/db/embedded", "terasocket/db/opentera", "terasocket/migrations"},

	// Only tests may import it.
	"terasocket/cmd/terasocket/gatewaytest": {"terasocket/db/dbtest", "terasocket/proto/event", "terasocket/proto/opentera"},
}

// forbidden external imports would break a boundary.
var forbidden = map[string]string{
	"terasocket/ws":          "github.com/jackc/pgx",
	"terasocket/proto/event": "github.com/jackc/pgx",
	"terasocket/api":         "github.com/jackc/pgx",
	"terasocket/db":          "github.com/gorilla/websocket",
	"terasocket/eventlog":    "github.com/gorilla/websocket",
	"terasocket/access":      "github.com/gorilla/websocket",
	"terasocket/audit":       "github.com/gorilla/websocket",
	"terasocket/presence":    "github.com/gorilla/websocket",
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "terasocket/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		mayImport, isKnown := allowed[p.ImportPath]
		if !isKnown {
			t.Errorf("%s is a new package: say here what it may import, and why it is needed in docs/architecture.md", p.ImportPath)
			continue
		}
		for _, imported := range p.Imports {
			if wall := forbidden[p.ImportPath]; wall != "" && strings.HasPrefix(imported, wall) {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
			if !strings.HasPrefix(imported, "terasocket/") {
				continue
			}
			ok := false
			for _, a := range mayImport {
				ok = ok || a == imported
			}
			if !ok {
				t.Errorf("%s must not import %s", p.ImportPath, imported)
			}
		}
	}
}
