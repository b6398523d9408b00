package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/alecthomas/kong"

	"terasocket/migrations"
)

// versionFlag is --version, wherever it stands: it does what the command does.
type versionFlag bool

// BeforeReset is kong's: it comes before what else is wrong with the command line.
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

// Run prints the version, the Go version and the schema version that it needs.
func (c *versionCmd) Run(con *console) error {
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(map[string]any{
			"version": version, "go": runtime.Version(), "schema": migrations.Latest()})
	}
	_, err := fmt.Fprintf(con.stdout, "terasocket %s (%s, schema %d)\n", version, runtime.Version(), migrations.Latest())
	return err
}
