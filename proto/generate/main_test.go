package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGeneratedCodeIsCurrent(t *testing.T) {
	if err := run(t.Context(), "..", true); err != nil {
		t.Error(err)
	}
}

// setup copies the committed .proto and .pb.go files and returns the folder to use in place of proto.
func setup(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "opentera"), os.DirFS("../opentera")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCheckNamesOutdatedFiles(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"edited by hand": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "user_event.pb.go"), "package opentera\n")
		}, "user_event.pb.go is not current"},
		"never generated": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "user_event.pb.go"))
		}, "user_event.pb.go is not current"},
		"proto changed": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "user_event.proto"), `syntax = "proto3";
package opentera.protobuf;
option go_package = "terasocket/proto/opentera";
message UserEvent {}
`)
		}, "user_event.pb.go is not current"},
		"proto gone": {func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, "user_event.proto"))
		}, "user_event.pb.go has no .proto file"},
		"proto does not compile": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "user_event.proto"), "message {")
		}, "compile: opentera/user_event.proto:1:9"},
		"no proto": {func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, "no .proto file in"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := setup(t)
			tc.spoil(t, filepath.Join(dir, "opentera"))
			err := run(t.Context(), dir, true)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("check: %v, want %q", err, tc.want)
			}
		})
	}
}

func TestGenerateMakesCurrent(t *testing.T) {
	t.Parallel()
	dir := setup(t)
	write(t, filepath.Join(dir, "opentera", "user_event.pb.go"), "package opentera\n")
	remove(t, filepath.Join(dir, "opentera", "tera_event.pb.go"))
	write(t, filepath.Join(dir, "opentera", "gone.pb.go"), "package opentera\n")

	if err := run(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), dir, true); err != nil {
		t.Errorf("check after generate: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "opentera", "gone.pb.go")); !os.IsNotExist(err) {
		t.Errorf("gone.pb.go: %v, want it removed", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
