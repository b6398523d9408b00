package embedded

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestVersionsNewestLast(t *testing.T) {
	t.Parallel()
	want := []string{
		"/usr/lib/postgresql/9.6/bin", "/usr/lib/postgresql/13/bin", "/opt/homebrew/opt/postgresql@17/bin",
		"/usr/libexec/postgresql18", "/opt/homebrew/opt/postgresql/bin",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareVersions)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// PATH comes first, and a directory counts only when it has both programs.
func TestFindBinariesInPath(t *testing.T) {
	t.Parallel()
	half, full := t.TempDir(), t.TempDir()
	for _, file := range []string{half + "/initdb", full + "/initdb", full + "/postgres"} {
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := findBinaries("", half+string(filepath.ListSeparator)+full)
	if err != nil || got != full {
		t.Errorf("got %s, %v; want %s", got, err, full)
	}
}
