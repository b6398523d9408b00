package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What deploy/opentera has the gateway started with is understood: it gets as far as the database, which is not there.
func TestDeployedSettings(t *testing.T) {
	t.Parallel()
	help := command(t.Context(), nil, "serve", "--help").stdout
	for file, arguments := range map[string]*regexp.Regexp{
		"terasocket.service":                    regexp.MustCompile(`(?m)^ExecStart=\S+/terasocket (.*)$`),
		"compose/docker-compose.terasocket.yml": regexp.MustCompile(`(?m)^      - (serve|--\S+)$`),
	} {
		text, err := os.ReadFile("../../deploy/opentera/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for _, match := range arguments.FindAllStringSubmatch(string(text), -1) {
			args = append(args, strings.Fields(match[1])...)
		}
		args = append(args, "--listen=127.0.0.1:0", "--wait-for-database=0s", "--database-url=postgres://127.0.0.1:1/x")
		if got := command(t.Context(), nil, args...); got.code != 1 || !strings.Contains(got.stderr, "cannot be reached") {
			t.Errorf("%s: %q: %+v", file, args, got)
		}
		for _, match := range regexp.MustCompile(`TERASOCKET_(\w+)\s?[:=]`).FindAllStringSubmatch(string(text), -1) {
			flag := "--" + strings.ToLower(strings.ReplaceAll(match[1], "_", "-")) + "="
			if !strings.Contains(help, flag) {
				t.Errorf("%s sets %s, and serve has no %s", file, match[0], flag)
			}
		}
	}
}
