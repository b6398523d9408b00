package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"terasocket/access"
)

type keysCmd struct {
	List   keysList   `cmd:"" help:"List the keys that sign and verify tokens: names and ages, never a key."`
	Rotate keysRotate `cmd:"" help:"Make a new key, which signs from now on."`
}

// installedFlags are for commands that need a database with terasocket in it.
type installedFlags struct {
	databaseFlags
	JSON bool `name:"json" help:"Print JSON."`
}

type keysList struct{ installedFlags }

type listedKey struct {
	Name      string     `json:"name"`
	IsSigning bool       `json:"is_signing"`
	CreatedAt time.Time  `json:"created_at"`
	RetiresAt *time.Time `json:"retires_at"` // null: it is the current signing key
}

// Run prints one line per key.
func (c *keysList) Run(ctx context.Context, con *console) error {
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	keys, err := (&access.Keys{Pool: pool}).List(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		listed := make([]listedKey, 0, len(keys))
		for _, k := range keys {
			listed = append(listed, listedKey{k.Name, k.RetiresAt == nil, k.CreatedAt, k.RetiresAt})
		}
		return json.NewEncoder(con.stdout).Encode(listed)
	}
	if len(keys) == 0 {
		_, err := fmt.Fprintln(con.stdout, "no keys: each is made when it is first needed")
		return err
	}
	for _, k := range keys {
		state := "signs"
		if k.RetiresAt != nil {
			state = "verifies until " + k.RetiresAt.UTC().Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(con.stdout, "%-11s  made %s (%s ago)  %s\n", k.Name, k.CreatedAt.UTC().Format(time.RFC3339),
			time.Since(k.CreatedAt).Round(time.Second), state); err != nil {
			return err
		}
	}
	return nil
}

type keysRotate struct {
	installedFlags
	Name    string        `arg:"" enum:"user,participant,service" help:"Whose tokens: user, participant or service."`
	Overlap time.Duration `name:"overlap" default:"1h" help:"How long the keys before it still verify. 0: every token signed with them is refused at once."`
}

func (c *keysRotate) Run(ctx context.Context, con *console) error {
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := (&access.Keys{Pool: pool}).Rotate(ctx, c.Name, c.Overlap); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(map[string]any{"name": c.Name, "overlap_seconds": c.Overlap.Seconds()})
	}
	_, err = fmt.Fprintf(con.stdout, "a new key signs %s tokens; those before it verify until %s\n", c.Name,
		time.Now().Add(c.Overlap).UTC().Format(time.RFC3339))
	return err
}
