package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// make install builds nothing: sudo may not find go.
func TestInstall(t *testing.T) {
	t.Parallel()
	dir, root := t.TempDir(), t.TempDir()
	install := func() (string, error) {
		out, err := exec.Command("make", "-f", must(filepath.Abs("../../Makefile")), "-C", dir, "install", "GO=false", "DESTDIR="+root).CombinedOutput()
		return string(out), err
	}
	if out, err := install(); err == nil || !strings.Contains(out, "run make build first") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/terasocket"), nil, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if out, err := install(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "usr/local/bin/terasocket")); err != nil {
		t.Error(err)
	}
}

// serve accepts the settings of the overlay for OpenTera's containers: it gets as far as the database, which does not exist.
func TestDeployedSettings(t *testing.T) {
	t.Parallel()
	text := string(must(os.ReadFile("../../deploy/opentera/compose/docker-compose.terasocket.yml")))
	var args []string
	for _, match := range regexp.MustCompile(`(?m)^      - (serve|--\S+)$`).FindAllStringSubmatch(text, -1) {
		args = append(args, match[1])
	}
	args = append(args, "--listen=127.0.0.1:0", "--wait-for-database=0s", "--database-url=postgres://127.0.0.1:1/x")
	if got := command(t.Context(), nil, args...); got.code != 1 || !strings.Contains(got.stderr, "cannot be reached") {
		t.Errorf("%q: %+v", args, got)
	}
	help := command(t.Context(), nil, "serve", "--help").stdout
	for _, match := range regexp.MustCompile(`TERASOCKET_(\w+)\s?[:=]`).FindAllStringSubmatch(text, -1) {
		flag := "--" + strings.ToLower(strings.ReplaceAll(match[1], "_", "-")) + "="
		if !strings.Contains(help, flag) {
			t.Errorf("the overlay sets %s, but serve has no %s", match[0], flag)
		}
	}
}
