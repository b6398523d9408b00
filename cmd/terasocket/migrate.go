package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"terasocket/doctor"
	"terasocket/migrations"
)

type migrateCmd struct {
	Up      migrateUp      `cmd:"" help:"Apply all that is missing."`
	Down    migrateDown    `cmd:"" help:"Take the last N migrations back, or --all, in one transaction, and the triggers with them."`
	Status  migrateStatus  `cmd:"" help:"List the migrations and which are applied, and whether the functions are this binary's."`
	Version migrateVersion `cmd:"" help:"Print the version of the database."`
	Grants  migrateGrants  `cmd:"" help:"Print what serve needs and a role has not, one GRANT a line, for psql."`
	Force   migrateForce   `cmd:"" help:"Set the version without running anything: the way out when a migration was interrupted."`
}

// migrateFlags are shared by the migrate commands.
type migrateFlags struct {
	databaseFlags
	MigrationDatabaseURL string `name:"migration-database-url" placeholder:"URL" help:"A direct connection as the owner of OpenTera's tables, where --database-url goes through PgBouncer or has fewer rights."`
	JSON                 bool   `name:"json" help:"Print one JSON object."`
}

// url returns the owner's URL.
func (f migrateFlags) url() (string, error) {
	if f.MigrationDatabaseURL == "" {
		return f.databaseFlags.url()
	}
	return f.MigrationDatabaseURL, checkDatabaseURL("--migration-database-url", f.MigrationDatabaseURL)
}

func (f migrateFlags) migrator(ctx context.Context) (*migrations.Migrator, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	return migrations.New(ctx, url)
}

// print prints the object with --json, otherwise the text.
func (f migrateFlags) print(con *console, object any, text string, args ...any) error {
	if f.JSON {
		return json.NewEncoder(con.stdout).Encode(object)
	}
	_, err := fmt.Fprintf(con.stdout, text+"\n", args...)
	return err
}

type migrateUp struct {
	migrateFlags
	ReadAgain bool `name:"read-again" help:"Read all objects again: after a restore of data alone, or when somebody wrote with triggers disabled."`
}

// Run applies the missing migrations.
func (c *migrateUp) Run(ctx context.Context, con *console) error {
	m, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	m.ReadAgain = c.ReadAgain
	m.Progress = func(line string) {
		if !c.JSON {
			_, _ = fmt.Fprintln(con.stderr, line)
		}
	}
	n, err := m.Up(ctx)
	if err != nil {
		return err
	}
	return c.print(con, map[string]any{"applied": n, "version": migrations.Latest()},
		"%d migrations applied, the database is at version %d; next: terasocket doctor", n, migrations.Latest())
}

type migrateDown struct {
	migrateFlags
	N   int  `arg:"" name:"n" optional:"" help:"How many."`
	All bool `name:"all" help:"All of them: nothing of terasocket is left."`
}

// Validate requires -n or --all.
func (c *migrateDown) Validate() error {
	if c.All == (c.N > 0) {
		return errors.New("say how many migrations to take back, 1 or more; all of them: terasocket migrate down --all")
	}
	return nil
}

// Run reverts migrations.
func (c *migrateDown) Run(ctx context.Context, con *console) error {
	m, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(con.stderr, "OpenTera's server must be stopped: this needs OpenTera's tables for itself, and tries for %s\n", m.LockTimeout)
	if c.All {
		c.N = int(migrations.Latest())
	}
	n, err := m.Down(ctx, c.N)
	if err != nil {
		return err
	}
	v, err := m.Version(ctx)
	if err != nil {
		return err
	}
	return c.print(con, map[string]any{"taken_back": n, "version": v}, "%d taken back, the database is at version %d", n, v)
}

type migrateStatus struct{ migrateFlags }

func (c *migrateStatus) Run(ctx context.Context, con *console) error {
	m, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	status, err := m.Status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(status)
	}
	for _, s := range status.Steps {
		state := "missing"
		if s.Applied {
			state = "applied"
		}
		if _, err := fmt.Fprintf(con.stdout, "%04d  %-8s  %s\n", s.Version, state, s.Name); err != nil {
			return err
		}
	}
	text := status.Functions
	switch {
	case status.Functions == "different":
		text += ": those of another binary, `terasocket migrate up` puts this one's there"
	case status.Unfinished != "":
		text += ", but " + status.Unfinished + ": run `terasocket migrate up`"
	}
	_, err = fmt.Fprintf(con.stdout, "functions: %s\n", text)
	return err
}

type migrateVersion struct{ migrateFlags }

func (c *migrateVersion) Run(ctx context.Context, con *console) error {
	m, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	v, err := m.Version(ctx)
	if err != nil {
		return err
	}
	return c.print(con, map[string]any{"version": v, "latest": migrations.Latest()}, "%d (this binary needs %d)", v, migrations.Latest())
}

type migrateGrants struct {
	migrateFlags
	doctor.Parts
	Role string `arg:"" help:"As which serve connects."`
}

// Run prints the statements to run.
func (c *migrateGrants) Run(ctx context.Context, con *console) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	grants, err := doctor.Grants(ctx, url, c.Role, c.Parts)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(map[string]any{"grants": append([]string{}, grants...)})
	}
	if len(grants) == 0 {
		_, err := fmt.Fprintf(con.stderr, "%s may do all that serve does\n", c.Role)
		return err
	}
	_, err = fmt.Fprintln(con.stdout, strings.Join(grants, "\n"))
	return err
}

type migrateForce struct {
	migrateFlags
	V int `arg:"" name:"version" help:"The version that the database really has; 0 for none."`
}

func (c *migrateForce) Run(ctx context.Context, con *console) error {
	m, err := c.migrator(ctx)
	if err != nil {
		return err
	}
	if err := m.Force(ctx, c.V); err != nil {
		return err
	}
	return c.print(con, map[string]any{"version": c.V}, "the database is now said to be at version %d", c.V)
}
