package main

import (
	"encoding/json"
	"io"
	"os"
	"regexp"
	"testing"
)

// TestContainerfile checks what no builder does: that the commands exist, and that nothing runs as root.
func TestContainerfile(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	line := func(pattern string) string {
		t.Helper()
		found := regexp.MustCompile(`(?m)^` + pattern + `$`).FindStringSubmatch(string(content))
		if found == nil {
			t.Fatalf("Containerfile has no line %s", pattern)
		}
		return found[1]
	}
	line(`USER ([1-9]\d*:[1-9]\d*)`) // numeric: there is no passwd, and Kubernetes requires it
	if from := line(`FROM (\S+)`); from != "scratch" {
		t.Errorf("FROM %s", from)
	}
	var check, start []string
	for text, words := range map[string]*[]string{line(`HEALTHCHECK .*CMD (\[.*\])`): &check, line(`CMD (\[.*\])`): &start} {
		if err := json.Unmarshal([]byte(text), words); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	env := map[string]string{"TERASOCKET_PLAIN_HTTP": "true"} // settings come from there
	for _, args := range [][]string{check[1:], start} {
		con := &console{stdout: io.Discard, stderr: io.Discard, getenv: func(name string) string { return env[name] }, origins: map[string]string{}}
		parser, err := newParser(t.Context(), con, func(int) {})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}
