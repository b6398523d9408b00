package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// settingNamed matches a variable of serve or another command in files for operators.
var settingNamed = regexp.MustCompile(`\bTERASOCKET_[A-Z][A-Z0-9_]*`)

// TestSettingsThatAreNamedExist checks what operators copy: a misspelt setting there would be ignored silently.
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
