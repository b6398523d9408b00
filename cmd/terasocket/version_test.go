package main

import (
	"encoding/json"
	"strings"
	"testing"

	"terasocket/migrations"
)

func TestVersionFlag(t *testing.T) {
	t.Parallel()
	want := command(t.Context(), nil, "version")
	for _, args := range [][]string{{"--version"}, {"serve", "--version"}} {
		if got := command(t.Context(), nil, args...); got != want || got.code != 0 || !strings.HasPrefix(got.stdout, "terasocket ") {
			t.Errorf("%q: %+v, want %+v", args, got, want)
		}
	}
}

func TestABuildSaysWhatItIs(t *testing.T) {
	t.Parallel()
	b := build{Version: "v1.2.0", Commit: "0123456789abcdef", Date: "2026-11-27T15:00:00Z", Go: "go1.26.8", FIPS140: true, Schema: 3}
	if got, want := b.String(), "terasocket v1.2.0 (commit 0123456789ab of 2026-11-27T15:00:00Z, go1.26.8, FIPS 140-3, schema 3)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b = build{Version: "dev", Go: "go1.26.8", Schema: 3}
	if got, want := b.String(), "terasocket dev (go1.26.8, schema 3)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	var answer build
	got := command(t.Context(), nil, "version", "--json")
	if err := json.Unmarshal([]byte(got.stdout), &answer); err != nil || answer.Version != version || answer.Schema != migrations.Latest() {
		t.Errorf("%+v, %v", got, err)
	}
}
