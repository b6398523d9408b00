package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestWhatIsCommittedIsCurrent(t *testing.T) {
	files, err := render()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if committed, err := os.ReadFile(filepath.Join("..", name)); err != nil || !bytes.Equal(committed, content) {
			t.Errorf("docs/%s is not what results.json and performance.md.tmpl give (%v): make performance", name, err)
		}
	}
}
