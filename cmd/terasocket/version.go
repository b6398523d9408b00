package main

import (
	"crypto/fips140"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"terasocket/migrations"
)

// versionFlag is --version at any place: it does what the command does.
type versionFlag bool

// BeforeReset is called by kong, before other errors of the command line.
func (versionFlag) BeforeReset(app *kong.Kong, con *console) error {
	if err := (&versionCmd{}).Run(con); err != nil {
		return err
	}
	app.Exit(0)
	return nil
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print one JSON object."`
}

// build identifies this binary.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"` // of the commit
	Go      string `json:"go"`
	FIPS140 bool   `json:"fips140"` // Go's validated cryptographic module is in use
	Schema  uint   `json:"schema"`  // required in the database
}

// thisBuild uses what the linker set, otherwise what `go build` records of git.
func thisBuild() build {
	b := build{version, commit, date, runtime.Version(), fips140.Enabled(), migrations.Latest()}
	info, ok := debug.ReadBuildInfo()
	if !ok || b.Commit != "" {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		}
	}
	return b
}

func (b build) String() string {
	var about []string
	if b.Commit != "" {
		about = append(about, fmt.Sprintf("commit %.12s of %s", b.Commit, b.Date))
	}
	about = append(about, b.Go)
	if b.FIPS140 {
		about = append(about, "FIPS 140-3")
	}
	return fmt.Sprintf("terasocket %s (%s, schema %d)", b.Version, strings.Join(about, ", "), b.Schema)
}

// Run prints the version, the commit, the Go version and the required schema version.
func (c *versionCmd) Run(con *console) error {
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(thisBuild())
	}
	_, err := fmt.Fprintln(con.stdout, thisBuild())
	return err
}
