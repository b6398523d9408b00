package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestShellsComplete(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"terasocket mig":                "migrate",
		"terasocket migrate ":           "status",
		"terasocket serve --pres":       "--presence-lease",
		"terasocket serve --encoding ":  "protobuf",
		"terasocket token --public-url": "--public-url",
	} {
		complete := exec.CommandContext(t.Context(), must(os.Executable()))
		complete.Env = append(os.Environ(), asProgram+"=1", "COMP_LINE="+line)
		out, err := complete.Output()
		if err != nil || !strings.Contains(string(out), want+"\n") {
			t.Errorf("%q: %q, %v; want %q", line, out, err, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := command(t.Context(), nil, "completion", "-c", shell); got.code != 0 || !strings.Contains(got.stdout, "complete") {
			t.Errorf("%s: %+v", shell, got)
		}
	}
}
