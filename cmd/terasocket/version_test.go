package main

import (
	"strings"
	"testing"
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
