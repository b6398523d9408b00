package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// sample is one line of /metrics.
type sample struct {
	name, value string
	labels      map[string]string
}

var (
	sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`([a-z_]+)="([^"\\]*)",?`)
	metricName = regexp.MustCompile(`\bterasocket_[a-z_]+`)
)

// samples reads /metrics: our own part, or all that begins with a prefix.
func (s *served) samples(prefix string) (all []sample) {
	s.t.Helper()
	response, err := (&http.Client{Timeout: gatewaytest.Limit}).Get(s.Admin + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), prefix) {
			continue
		}
		match := sampleLine.FindStringSubmatch(lines.Text())
		if match == nil || labelPair.ReplaceAllString(match[2], "") != "" {
			s.t.Fatalf("cannot read the line %q", lines.Text())
		}
		one := sample{name: match[1], value: match[3], labels: map[string]string{}}
		for _, pair := range labelPair.FindAllStringSubmatch(match[2], -1) {
			one.labels[pair[1]] = pair[2]
		}
		all = append(all, one)
	}
	if err := lines.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// gauge returns a metric without labels.
func (s *served) gauge(name string) float64 {
	s.t.Helper()
	n, err := strconv.ParseFloat(s.value(name), 64)
	if err != nil {
		s.t.Fatalf("metric %s: %v", name, err)
	}
	return n
}

// value returns the sample with these labels ("name", "value", ...), "" if it is absent.
func (s *served) value(name string, labels ...string) string {
	s.t.Helper()
	for _, one := range s.samples(name) {
		isIt := one.name == name
		for i := 0; i < len(labels); i += 2 {
			isIt = isIt && one.labels[labels[i]] == labels[i+1]
		}
		if isIt {
			return one.value
		}
	}
	return ""
}

// waitFor polls until a metric has that value.
func (s *served) waitFor(want func(value string) bool, name string, labels ...string) {
	s.t.Helper()
	dbtest.Eventually(s.t, fmt.Sprintf("%s %v is as it should be", name, labels), func() bool { return want(s.value(name, labels...)) })
}

func is(want string) func(string) bool { return func(value string) bool { return value == want } }

// after returns a condition: the value is there and differs from before.
func after(before string) func(string) bool {
	return func(value string) bool { return value != "" && value != before }
}

// servesAllKinds has the gateway serve all kinds of people, in all encodings, with events of all sources.
func servesAllKinds(t *testing.T, gateway *served) {
	t.Helper()
	paul := gateway.login(opentera.DemoProjectAdmin, "&snapshot=1")
	dial(t, gateway.address("user", opentera.DemoSuperadminUUID)+"&encoding=json")
	dial(t, gateway.address("participant", opentera.DemoParticipantUUID)+"&encoding=json&since=0")
	dial(t, gateway.address("device", opentera.DemoDeviceUUID))
	gateway.exec("UPDATE t_participants SET participant_name = 'Ann Onymous' WHERE id_participant = 1")
	gateway.exec(publishSQL("websocket.user."+opentera.DemoProjectAdminUUID+".events", typedJSON("UserEvent", `"type": "USER_CONNECTED", "userUuid": "`+opentera.DemoProjectAdminUUID+`"`)))
	gateway.exec("SELECT terasocket.kick($1)", opentera.DemoDeviceUUID)
	gateway.exec("UPDATE t_sites SET site_name = 'last' WHERE id_site = 1") // another object: two changes of one can be one event
	for {
		if _, d := paul.event(); strings.Contains(d.GetObjectValue(), `"last"`) {
			break
		}
	}
	gateway.waitFor(is("1"), "terasocket_closes_total", "code", "4000")
	for _, path := range []string{"/wss/user?id=nothing", "/wss/participant", "/wss/device?id=x"} {
		gateway.call(http.MethodGet, path, "", nil)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	gateway := serve(t, dbtest.New(t, migrated()), "--max-backlog", "100000000")
	gateway.part("labels and values", labelsAndValues)
	gateway.part("the backlog of slow clients", slowClients)
}

// Labels have few values, known beforehand: no person, no address, no object.
func labelsAndValues(t *testing.T, gateway *served) {
	servesAllKinds(t, gateway)
	words := func(s string) []string { return strings.Fields(s) }
	types := words(`DatabaseEvent UserEvent ParticipantEvent DeviceEvent JoinSessionEvent JoinSessionReplyEvent LeaveSessionEvent
		StopSessionEvent ArchiveEvent LoginEvent Rights Alias Settled Kick`)
	allowed := map[string][]string{
		"kind":     words("user participant device"),
		"encoding": words("protobuf json json_seq"),
		"reason":   words("draining encoding gone malformed not_ready not_upgrade origin redeem replace since snapshot sockets standing token too_many upgrade version"),
		"code":     words("1000 1001 1002 1005 1006 1008 1009 1011 1012 1013 4000 other"),
		"source":   words("database user_manager direct archive log gateway other"),
		"type":     types,
		"le":       words("0.0005 0.001 0.002 0.0025 0.005 0.01 0.02 0.025 0.05 0.1 0.2 0.25 0.5 1 2 2.5 5 10 30 60 +Inf"),
	}
	all := gateway.samples("terasocket_")
	for _, one := range all {
		for label, value := range one.labels {
			if !slices.Contains(allowed[label], value) {
				t.Errorf("%s has the label %s=%q", one.name, label, value)
			}
		}
	}
	if len(all) < 100 {
		t.Errorf("only %d samples", len(all))
	}
	for _, tt := range []struct {
		name   string
		labels []string
		want   func(string) bool
	}{
		{"terasocket_connections", []string{"kind", "user"}, is("2")},
		{"terasocket_connections", []string{"kind", "participant"}, is("1")},
		{"terasocket_connections", []string{"kind", "device"}, is("0")},
		{"terasocket_handshakes_accepted_total", []string{"kind", "user"}, is("2")},
		{"terasocket_handshakes_accepted_total", []string{"kind", "device"}, is("1")},
		{"terasocket_handshakes_refused_total", []string{"reason", "not_upgrade"}, is("3")},
		{"terasocket_handshakes_refused_total", []string{"reason", "not_ready"}, is("0")},
		{"terasocket_events_total", []string{"source", "database", "type", "DatabaseEvent"}, is("2")},
		{"terasocket_events_total", []string{"source", "direct", "type", "UserEvent"}, is("1")},
		{"terasocket_events_total", []string{"source", "gateway", "type", "Kick"}, is("1")},
		{"terasocket_events_total", []string{"source", "user_manager", "type", "DeviceEvent"}, after("0")},
		{"terasocket_events_total", []string{"source", "log", "type", "LoginEvent"}, after("0")},
		{"terasocket_deliveries_total", []string{"kind", "user", "encoding", "protobuf"}, after("0")},
		{"terasocket_deliveries_total", []string{"kind", "user", "encoding", "json"}, after("0")},
		{"terasocket_announcements_total", nil, after("0")},
		{"terasocket_announce_seconds_count", nil, after("0")},
		{"terasocket_announce_errors_total", nil, is("0")},
		{"terasocket_log_rows_read_total", nil, after("0")},
		{"terasocket_index_principals", nil, after("0")},
		{"terasocket_index_tags", nil, after("0")},
		{"terasocket_commit_to_write_seconds_count", nil, after("0")},
		{"terasocket_backlog_bytes", nil, is("0")},
		{"terasocket_listener_up", nil, is("1")},
		{"terasocket_set_aside_objects", nil, is("0")},
		{"terasocket_database_up", nil, is("1")},
		{"terasocket_capture_errors_total", nil, is("0")},
		{"terasocket_log_rows", nil, func(v string) bool { return v != "" }},
		{"terasocket_log_oldest_seconds", nil, func(v string) bool { return v != "" }},
		{"terasocket_notify_queue_usage_ratio", nil, func(v string) bool { return v != "" }},
	} {
		if v := gateway.value(tt.name, tt.labels...); !tt.want(v) {
			t.Errorf("%s %v is %q", tt.name, tt.labels, v)
		}
	}
	gateway.waitFor(is("0"), "terasocket_lag_seconds")
}

// The dashboard, the alert rules and the table in deploy/ match the metrics.
func deployKnowsTheMetrics(t *testing.T, gateway *served) {
	exported := map[string]bool{}
	for _, one := range gateway.samples("terasocket_") {
		name := one.name
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, is := strings.CutSuffix(name, suffix); is {
				name = base
			}
		}
		exported[name] = true
	}
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	known := func(where, expression string) int {
		t.Helper()
		names := metricName.FindAllString(expression, -1)
		for _, name := range names {
			if !exported[strings.TrimSuffix(name, "_bucket")] {
				t.Errorf("%s: unknown metric %s", where, name)
			}
		}
		return len(names)
	}

	var dashboard struct {
		UID, Title    string
		SchemaVersion int
		Panels        []struct {
			ID          int
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr, RefID string }
		}
	}
	if err := json.Unmarshal([]byte(read("grafana-dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	ids, shown := map[int]bool{}, ""
	for _, p := range dashboard.Panels {
		if p.Title == "" || ids[p.ID] || p.GridPos.W < 1 || p.GridPos.X+p.GridPos.W > 24 || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			shown += target.Expr + "\n"
			if known("panel "+p.Title, target.Expr) == 0 || target.RefID == "" {
				t.Errorf("panel %s has a target %+v", p.Title, target)
			}
		}
	}
	if dashboard.UID == "" || dashboard.Title == "" || dashboard.SchemaVersion == 0 || len(ids) < 10 {
		t.Errorf("dashboard %q %q of schema %d with %d panels", dashboard.UID, dashboard.Title, dashboard.SchemaVersion, len(ids))
	}

	// one form for every rule: omissions show without a YAML parser
	rule := regexp.MustCompile(`^(Terasocket\w+)\n {8}expr: (.+)\n {8}for: \d+m\n {8}labels:\n {10}severity: (?:warning|critical)\n` +
		` {8}annotations:\n {10}summary: ".+"\n {10}description: "(.{40,})"\n*$`)
	rules := strings.Split(read("alerts.yml"), "      - alert: ")
	for _, text := range rules[1:] {
		match := rule.FindStringSubmatch(text)
		if match == nil {
			t.Errorf("a rule unlike the others:\n%s", text)
			continue
		}
		if known("alert "+match[1], match[2]) == 0 && match[2] != `up{job="terasocket"} == 0` {
			t.Errorf("alert %s uses none of our metrics", match[1])
		}
		known("alert "+match[1], match[3])
	}
	if len(rules) < 10 {
		t.Errorf("%d rules", len(rules)-1)
	}

	table := map[string]bool{}
	for line := range strings.Lines(read("README.md")) {
		if strings.HasPrefix(line, "| `terasocket_") {
			cell, _, _ := strings.Cut(line[2:], "|") // two that belong together may share a line
			for _, name := range metricName.FindAllString(cell, -1) {
				table[name] = true
			}
		}
	}
	for name := range table {
		known("README", name)
	}
	for name := range exported {
		if !table[name] {
			t.Errorf("the table of deploy/README.md lacks %s", name)
		}
		if !strings.Contains(shown, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
}

// The backlog of a client that does not read is visible before it is too large.
func slowClients(t *testing.T, gateway *served) {
	pool := dbtest.Pool(t, gateway.dbURL)
	admin := gateway.login(opentera.DemoSuperadmin, "")
	_ = gatewaytest.Raw(admin.conn).SetReadBuffer(64 << 10)
	for i := 0; gateway.value("terasocket_backlog_bytes") == "0"; i++ {
		if i == 200 {
			t.Fatal("nothing is waiting")
		}
		dbtest.Exec(t, pool, "UPDATE t_participants SET participant_name = repeat('x', 10000) || $1 WHERE id_participant <= 100", strconv.Itoa(i))
	}
	rename(t, pool, 1, "the end")
	for {
		if _, d := admin.event(); strings.Contains(d.GetObjectValue(), `"the end"`) {
			break
		}
	}
	gateway.waitFor(is("0"), "terasocket_backlog_bytes")
}
