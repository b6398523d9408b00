package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// settingNamed is a variable that serve or another command would read, as files for operators name it.
var settingNamed = regexp.MustCompile(`\bTERASOCKET_[A-Z][A-Z0-9_]*`)

// TestSettingsThatAreNamedExist reads what operators copy: a setting that is misspelt there would be ignored in silence.
func TestSettingsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	named := 0
	for _, root := range []string{"README.md", "Containerfile", "docs", "deploy", "packaging", "script"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			names := settingNamed.FindAllString(string(content), -1)
			named += len(names)
			for _, text := range misspelt(t.Context(), names) {
				t.Errorf("%s: %s", path, text)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if named < 10 {
		t.Errorf("only %d settings found: does this test look at the right files?", named)
	}
}
