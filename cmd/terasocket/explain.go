package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"terasocket/access"
)

type explainCmd struct {
	databaseFlags
	Event int64  `name:"event" required:"" placeholder:"SEQ" help:"The seq of the event."`
	As    string `name:"as" required:"" placeholder:"KIND:UUID" help:"The client: user:UUID, participant:UUID or device:UUID."`
	JSON  bool   `name:"json" help:"Print one JSON object."`
}

func (c *explainCmd) Validate() error {
	if _, _, err := access.ParseRef(c.As); err != nil {
		return fmt.Errorf("--as: %w; it is user:UUID, participant:UUID or device:UUID", err)
	}
	return nil
}

// Run prints whether the client may see the event, and why. "No" is an answer, not an error.
func (c *explainCmd) Run(ctx context.Context, con *console) error {
	kind, uuid, err := access.ParseRef(c.As)
	if err != nil {
		return err
	}
	pool, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	explanation, err := (&access.Explainer{Pool: pool}).Explain(ctx, c.Event, kind, uuid)
	if errors.Is(err, access.ErrUnknown) {
		return fmt.Errorf("--as: there is no %s with the UUID %q", kind, uuid)
	} else if err != nil {
		return err
	}
	explanation.Notes = notes(explanation)
	if c.JSON {
		return json.NewEncoder(con.stdout).Encode(explanation)
	}
	_, err = con.stdout.Write([]byte(explained(explanation)))
	return err
}

// page is text in two columns.
type page struct{ strings.Builder }

func (p *page) add(what string, lines ...string) {
	for _, line := range lines {
		fmt.Fprintf(p, "%-14s  %s\n", what, line)
		what = ""
	}
}

// mostLines limits the ways to satisfy a clause that people are shown; --json has them all.
const mostLines = 8

func shortened(lines []string) []string {
	if len(lines) <= mostLines {
		return lines
	}
	return append(lines[:mostLines-1:mostLines-1], fmt.Sprintf("... and %d more (--json has them all)", len(lines)-mostLines+1))
}

// explained formats an explanation for people.
func explained(x *access.Explanation) string {
	var p page
	p.add(fmt.Sprint("event ", x.Event.Seq), fmt.Sprintf("%s, recorded %s, announcement %d",
		whatHappened(x.Event), x.Event.At.Local().Format("2006-01-02 15:04:05 MST"), x.Event.Announcement))
	p.add("client", fmt.Sprintf("%s %s, %s", x.Client.Kind, x.Client.Name, state(x.Client)))
	switch {
	case x.MaySee:
		p.add("may see it", "yes")
	case x.AsDeleted:
		p.add("may see it", "no, but it saw the object before: it receives a DB_DELETE instead")
	default:
		p.add("may see it", "no")
	}
	p.clauses(x.Client, x.Clauses, x.AsDeleted)
	if x.AsDeleted {
		p.add("saw it before", "yes")
		p.clauses(x.Client, x.Former, false)
	}
	p.add("note", x.Notes...)
	return p.String()
}

// clauses prints what each clause needs and what the client has. Without advice if isAnswered.
func (p *page) clauses(client access.ExplainedClient, clauses []access.ExplainedClause, isAnswered bool) {
	if len(clauses) == 0 {
		p.add("  needed", "what nobody has")
	}
	for i, clause := range clauses {
		what := "  needed"
		if i > 0 {
			what = "  and needed"
		}
		p.add(what, shortened(needs(clause.Needed))...)
		if clause.IsSatisfied {
			p.add("  has", shortened(paths(client, clause.Has))...)
			continue
		}
		p.add("  has", shortened(holdings(client))...)
		if advice := advice(client, clause.Needed); advice != "" && !isAnswered {
			p.add("  so", advice)
		}
	}
}

func state(c access.ExplainedClient) string {
	switch {
	case c.IsDeleted:
		return "deleted"
	case !c.IsEnabled:
		return "disabled"
	}
	return "enabled"
}
