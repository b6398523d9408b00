package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// settingNamed is a variable that serve or another command would read, as files for operators name it.
var settingNamed = regexp.MustCompile(`\bTERASOCKET_[A-Z][A-Z0-9_]*`)

// TestSettingsThatAreNamedExist reads what operators copy: a setting that is misspelt there would be ignored in silence.
func TestSettingsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{
		"TERASOCKET_PORT":  true,                                                                                                   // what Kubernetes would set
		"TERASOCKET_TEST_": true, "TERASOCKET_TEST_POSTGRES": true, "TERASOCKET_TEST_EXAMPLES": true, "TERASOCKET_WRITE_MAN": true, // of our tests
	}
	parser, err := newParser(t.Context(), &console{stdout: io.Discard, stderr: io.Discard}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		for _, flag := range leaf.Flags {
			name := "TERASOCKET_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			known[name], known[name+"_FILE"] = true, true
		}
	}
	named := 0
	for _, root := range []string{"README.md", "Containerfile", "docs", "deploy", "packaging", "script"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			for _, name := range settingNamed.FindAllString(string(content), -1) {
				named++
				if !known[name] {
					t.Errorf("%s names %s, which no command reads", path, name)
				}
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
