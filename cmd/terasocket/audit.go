package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"terasocket/access"
	"terasocket/audit"
)

type auditCmd struct {
	installedFlags
	Event uint64  `name:"event" placeholder:"SEQ" help:"Who was sent this event."`
	As    string  `name:"as" placeholder:"KIND:UUID" help:"What was sent to user:UUID, participant:UUID or device:UUID."`
	Since instant `name:"since" placeholder:"TIME" help:"Not what was sent before: 2026-11-27, or 2026-11-27T08:00:00-05:00."`
	Until instant `name:"until" placeholder:"TIME" help:"Only what was sent before."`
}

// Help is printed below the flags.
func (c *auditCmd) Help() string {
	return "One line for each socket and some seconds of it; with --json one JSON object a line. It says what was sent while a gateway ran with " +
		"--audit-deliveries, and never what is in an event. \"delete\" is a DB_DELETE, which has only an object's keys; \"console\" means that a superadmin was " +
		"shown the event there. \"Nobody\" or \"nothing\" is an answer, not an error. What was sent in the last seconds may not be there yet."
}

// instant is a point in time on the command line; a date is its beginning, in UTC.
type instant struct{ time.Time }

// UnmarshalText reads RFC 3339, or a date.
func (i *instant) UnmarshalText(text []byte) (err error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if i.Time, err = time.Parse(layout, string(text)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%q is no time: write 2026-11-27, or 2026-11-27T08:00:00Z", text)
}

// question converts the flags.
func (c *auditCmd) question() (q audit.Question, err error) {
	q = audit.Question{Seq: c.Event, Since: c.Since.Time, Until: c.Until.Time}
	switch {
	case c.As == "" && c.Event == 0:
		return q, errors.New("say what to look for: --event SEQ, --as KIND:UUID, or both")
	case !c.Until.IsZero() && !c.Since.Before(c.Until.Time):
		return q, errors.New("--until must be after --since")
	case c.As == "":
		return q, nil
	}
	kind, uuid, err := access.ParseRef(c.As)
	if err != nil {
		return q, fmt.Errorf("--as: %w; it is user:UUID, participant:UUID or device:UUID", err)
	}
	if !isUUID(uuid) { // a mistyped one would be answered with "nobody"
		return q, fmt.Errorf("--as: %q is no UUID", uuid)
	}
	q.Kind, q.UUID = kind.String(), uuid
	return q, nil
}

func (c *auditCmd) Validate() error {
	_, err := c.question()
	return err
}

// Run prints the recorded deliveries.
func (c *auditCmd) Run(ctx context.Context, con *console) error {
	q, err := c.question()
	if err != nil {
		return err
	}
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	found := 0
	lines := json.NewEncoder(con.stdout)
	err = audit.Find(ctx, pool, q, func(row audit.Row) error {
		found++
		if c.JSON {
			return lines.Encode(row)
		}
		_, err := fmt.Fprintln(con.stdout, delivered(row))
		return err
	})
	if err != nil || found > 0 || c.JSON {
		return err
	}
	if q.Seq == 0 {
		return nothingFound(ctx, pool, con.stdout, "nothing")
	}
	return nothingFound(ctx, pool, con.stdout, "nobody")
}

// nothingFound says how far back the records reach.
func nothingFound(ctx context.Context, pool *pgxpool.Pool, w io.Writer, answer string) error {
	oldest, err := audit.Oldest(ctx, pool)
	if err != nil {
		return err
	}
	answer += ", as far as it was recorded: since " + oldest.UTC().Format(time.DateOnly) + " at the earliest, and while a gateway ran with --audit-deliveries"
	if oldest.IsZero() {
		answer = "nothing was ever recorded: no gateway has run with --audit-deliveries"
	}
	_, err = fmt.Fprintln(w, answer)
	return err
}

// delivered formats a row for people.
func delivered(row audit.Row) string {
	line := fmt.Sprintf("%s to %s  %s %s  %s", row.Since.UTC().Format("2006-01-02 15:04:05"), row.Until.UTC().Format("15:04:05 UTC"), row.Kind, row.UUID, row.Mode)
	switch row.Mode {
	case "snapshot":
		line += fmt.Sprintf(" of presence, %d frames", row.Frames)
	case "delete":
		line += " (the keys alone)"
		fallthrough
	default:
		var seqs []string
		for _, run := range row.Seqs {
			if run.First == run.Last {
				seqs = append(seqs, fmt.Sprint(run.First))
			} else {
				seqs = append(seqs, fmt.Sprintf("%d-%d", run.First, run.Last))
			}
		}
		line += " " + strings.Join(shortened(seqs), ", ")
	}
	if row.Address != "" {
		line += "  to " + row.Address
	}
	if row.Mode == "console" {
		return line + "  in the console of " + row.Gateway
	}
	return line + fmt.Sprintf("  connection %d of %s, since %s", row.Connection, row.Gateway, row.Opened.UTC().Format(time.RFC3339))
}
