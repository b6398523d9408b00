package main

import (
	"bytes"
	"os"
	"testing"
)

func TestDemoIsCurrent(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile("../demo.sql")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, generate()) {
		t.Error(`demo.sql is not what gendemo writes: run "go generate ./db/opentera"`)
	}
}
