package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"terasocket/migrations"
)

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
