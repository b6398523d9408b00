package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"terasocket/presence"
)

type busyCmd struct {
	List busyList `cmd:"" help:"List who is in a session, since when, and what OpenTera says of the session."`
	End  busyEnd  `cmd:"" help:"Take somebody out of a session, or everybody: where a service has died and nobody will say so."`
}

type busyList struct{ installedFlags }

// Run prints one line per principal.
func (c *busyList) Run(ctx context.Context, con *console) error {
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	members, err := (&presence.Busy{Pool: pool}).List(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		if members == nil {
			members = []presence.Member{}
		}
		return json.NewEncoder(con.stdout).Encode(members)
	}
	if len(members) == 0 {
		_, err := fmt.Fprintln(con.stdout, "nobody is in a session")
		return err
	}
	for _, m := range members {
		if _, err := fmt.Fprintf(con.stdout, "%s %s (%s) since %s in session %s (%s)\n", m.Kind, m.UUID, m.Name,
			m.Since.UTC().Format(time.RFC3339), m.Session, m.StatusText()); err != nil {
			return err
		}
	}
	return nil
}

type busyEnd struct {
	installedFlags
	Kind string `arg:"" enum:"user,participant,device,session" help:"user, participant or device; session for everybody in it."`
	UUID string `arg:"" name:"uuid" help:"Its UUID."`
}

func (c *busyEnd) Validate() error {
	if !isUUID(c.UUID) {
		return fmt.Errorf("%q is no UUID: see terasocket busy list", c.UUID)
	}
	return nil
}

func (c *busyEnd) Run(ctx context.Context, con *console) error {
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	n, err := (&presence.Busy{Pool: pool}).End(ctx, c.Kind, c.UUID)
	switch {
	case err != nil:
		return err
	case n == 0 && c.Kind == "session":
		return fmt.Errorf("nobody is in session %s: see `terasocket busy list`", c.UUID)
	case n == 0:
		return fmt.Errorf("%s %s is in no session: see `terasocket busy list`", c.Kind, c.UUID)
	case c.JSON:
		return json.NewEncoder(con.stdout).Encode(map[string]int{"ended": n})
	}
	_, err = fmt.Fprintf(con.stdout, "%d left the session; clients are told\n", n)
	return err
}

// isUUID reports whether it is a UUID as OpenTera writes them, with hyphens.
func isUUID(s string) bool {
	return len(s) == 36 && new(pgtype.UUID).Scan(s) == nil
}
