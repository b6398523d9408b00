package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPrintConfigSaysWhereEachSettingComesFrom(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://u:geheim@h/x?sslpassword=geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"DATABASE_URL_FILE": file, "TERASOCKET_LOG_LEVEL": "warn", "TERASOCKET_ENCODING": "json",
		"TERASOCKET_LISTEN_DATABASE_URL": "host=h password=geheim"}
	got := command(t.Context(), env, "serve", "--print-config", "--json", "--plain-http", "--encoding", "protobuf", "--trusted-proxies", "127.0.0.1,10.0.0.0/8", "--proxy-certificates")
	var all []setting
	if err := json.Unmarshal([]byte(got.stdout), &all); got.code != 0 || err != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	known := map[string]setting{}
	for _, s := range all {
		known[s.Name] = s
	}
	for _, want := range []setting{
		{"database-url", "postgres://u:xxxxx@h/x?sslpassword=xxxxx", "file " + file + " (DATABASE_URL_FILE)"},
		{"listen-database-url", hidden, "environment TERASOCKET_LISTEN_DATABASE_URL"},
		{"log-level", "warn", "environment TERASOCKET_LOG_LEVEL"},
		{"encoding", "protobuf", "flag"}, // takes precedence over the environment
		{"plain-http", "true", "flag"},
		{"trusted-proxies", "127.0.0.1,10.0.0.0/8", "flag"},
		{"proxy-certificates", "true", "flag"},
		{"listen", ":4050", "default"},
		{"drain-time", "4s", "default"},
		{"public-url", "", "default"},
	} {
		if known[want.Name] != want {
			t.Errorf("%+v, want %+v", known[want.Name], want)
		}
	}
	if strings.Contains(got.stdout, "geheim") {
		t.Errorf("a secret is shown:\n%s", got.stdout)
	}
	// for people: every flag of the help, one a line
	table, help := command(t.Context(), env, "serve", "--print-config", "--plain-http"), command(t.Context(), nil, "serve", "--help")
	lines := strings.Split(strings.TrimSpace(table.stdout), "\n")
	if other := command(t.Context(), nil, "serve", "--print-config", "--plain-http", "--database-url", "x", "--redis-url", "redis://h"); !strings.Contains(other.stdout, "json") {
		t.Errorf("the effective encoding: %+v", other)
	}
	if table.code != 0 || len(lines) != len(all) || strings.Contains(table.stdout, "geheim") {
		t.Errorf("%d lines of %d settings: %+v", len(lines), len(all), table)
	}
	for _, line := range lines {
		if name := strings.Fields(line)[0]; !strings.Contains(help.stdout, name) {
			t.Errorf("%s is not a flag", name)
		}
	}
}

func TestPrintConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	got := command(t.Context(), nil, "serve", "--print-config")
	if got.code != 2 || !strings.Contains(got.stdout, "--listen") {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"no database given", "TLS needs --tls-cert"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("%q does not say %q", got.stderr, want)
		}
	}
}

// A misspelt setting in the environment is reported; what Kubernetes sets for a service of our name is not.
func TestMisspeltSettings(t *testing.T) {
	for name, want := range map[string]string{
		"TERASOCKET_LISTN":                 "is no setting, did you mean TERASOCKET_LISTEN?",
		"TERASOCKET_TLS_KEY_FILES":         "is no setting",
		"TERASOCKET_NONSENSE":              "is no setting",
		"TERASOCKET_LISTEN":                "",
		"TERASOCKET_DATABASE_URL":          "",
		"TERASOCKET_REDIS_URL_FILE":        "",
		"TERASOCKET_CONSOLE_PASSWORD_FILE": "",
		"TERASOCKET_WRITE_MAN":             "",
		"TERASOCKET_TEST_POSTGRES":         "",
		"TERASOCKET_SERVICE_HOST":          "",
		"TERASOCKET_SERVICE_PORT_WSS":      "",
		"TERASOCKET_PORT":                  "",
		"TERASOCKET_PORT_4050_TCP":         "",
		"TERASOCKETS":                      "",
		"PATH":                             "",
	} {
		got := strings.Join(misspelt(t.Context(), []string{name + "=x"}), "; ")
		if want == "" && got != "" || want != "" && (!strings.HasPrefix(got, name) || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	t.Setenv("TERASOCKET_LISTN", ":1")
	for _, args := range [][]string{{"--print-config"}, {"--database-url", "postgres://127.0.0.1:1/x"}} {
		if got := command(t.Context(), nil, append([]string{"serve", "--plain-http"}, args...)...); !strings.Contains(got.stderr, "TERASOCKET_LISTN is no setting") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}

func TestNothingSecretIsShown(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]string{
		"database-url": {"postgres://u:geheim@h/x", "postgres://h/x?password=geheim", "host=h password=geheim", "host=h password='gehe im'",
			"postgres://u:geheim@%zz", "postgres:geheim", "u:geheim@h", "//u:geheim@h", "postgres://h/x?password=geheim;y", "geheim",
			"postgres://u:/geheim@h/x", "postgres://u:12/geheim@h/x", "postgres://u:12#geheim@h/x", "postgres://u:?geheim@h/x", "postgres://u:12#geheim", "postgres://u:x@y/geheim@h/x"},
		"redis-url":        {"redis://:geheim@h:6379/0", "rediss://u:geheim@h"},
		"console-password": {"geheim"},
		"service-token":    {"geheim"},
	} {
		for _, value := range values {
			if shown := withoutSecret(name, value); shown == "" || strings.Contains(shown, "gehe") {
				t.Errorf("--%s %s: %s", name, value, shown)
			}
		}
	}
	for name, value := range map[string]string{"listen": ":4050", "public-url": "wss://tera.example:443", "console-password-file": "/etc/x"} {
		if shown := withoutSecret(name, value); shown != value {
			t.Errorf("--%s %s: %s", name, value, shown)
		}
	}
}
