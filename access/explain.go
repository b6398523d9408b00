package access

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Explanation says whether a client may see an event, and why. It holds no content of the event.
type Explanation struct {
	Event     ExplainedEvent    `json:"event"`
	Client    ExplainedClient   `json:"client"`
	MaySee    bool              `json:"may_see"`    // it receives the event
	AsDeleted bool              `json:"as_deleted"` // it receives a DB_DELETE instead: it saw the object before, and no longer does
	Clauses   []ExplainedClause `json:"clauses"`    // recipients must satisfy all of these; none: nobody does
	Former    []ExplainedClause `json:"former"`     // the same for those who saw the object before; nil: there is no DB_DELETE
	Notes     []string          `json:"notes"`      // remarks for people
}

// ExplainedEvent is a row of the event log.
type ExplainedEvent struct {
	Seq          int64     `json:"seq"`
	Type         string    `json:"type"`        // full name of the message
	Op           *string   `json:"op"`          // of a DatabaseEvent: C and U the object is alive, G it is soft-deleted, D it is gone
	ObjectType   *string   `json:"object_type"` // object type of a DatabaseEvent
	ObjectID     *int64    `json:"object_id"`
	At           time.Time `json:"at"`           // when the change was captured
	Announcement int64     `json:"announcement"` // number of its announcement
}

// ExplainedClient is the client in question.
type ExplainedClient struct {
	Kind           string     `json:"kind"`
	ID             int32      `json:"id"`
	UUID           string     `json:"uuid"`
	Name           string     `json:"name"`
	IsEnabled      bool       `json:"is_enabled"`
	IsDeleted      bool       `json:"is_deleted"`
	IsSuperadmin   bool       `json:"is_superadmin"`
	Roles          []Role     `json:"roles"`           // a user's living roles
	ConnectedSince *time.Time `json:"connected_since"` // of the oldest open socket; nil: not connected
}

// Role is a service role that a user has through a group.
type Role struct {
	ID      int32   `json:"id_service_role"`
	Name    string  `json:"role"`
	Service *string `json:"service"` // service_key
	On      *string `json:"on"`      // "site" or "project"; nil: neither
	OnID    *int32  `json:"id"`
	OnName  *string `json:"name"`
	IsGone  bool    `json:"is_gone"` // that site or project is deleted, so that the role grants nothing
	GroupID int32   `json:"id_user_group"`
	Group   string  `json:"group"`
}

// ExplainedClause is one clause of routing keys.
type ExplainedClause struct {
	IsSatisfied bool   `json:"satisfied"`
	Needed      []Need `json:"needed"` // one of these is enough; none: nobody has it
	Has         []Path `json:"has"`    // paths by which the client satisfies it
}

// Need is a tag and its subject.
type Need struct {
	Tag      string  `json:"tag"` // x, u:12, p:3, ...: see docs/architecture.md
	ID       *int64  `json:"id"`
	Name     *string `json:"name"`    // of a site or project
	SiteID   *int32  `json:"id_site"` // of a project
	SiteName *string `json:"site_name"`
	IsGone   bool    `json:"is_gone"` // deleted or unknown: nobody holds it
}

// Path is how the client holds a tag: by "superadmin", "itself" or "role".
type Path struct {
	Tag string `json:"tag"`
	By  string `json:"by"`
	*Role
}

// MissingEventError says that the log does not hold an event.
type MissingEventError struct {
	Seq            int64
	Oldest, Newest *int64 // seqs in the log; nil: it is empty
	Last           *int64 // the last seq given out; nil: none yet
}

func (e *MissingEventError) Error() string {
	switch {
	case e.Seq < 1 || e.Last == nil || e.Seq > *e.Last:
		last := "no event has been recorded yet"
		if e.Last != nil {
			last = fmt.Sprintf("the last one is %d", *e.Last)
		}
		return fmt.Sprintf("there never was an event %d: %s", e.Seq, last)
	case e.Oldest == nil:
		return fmt.Sprintf("event %d is not in the log any more: the log is empty", e.Seq)
	case e.Seq < *e.Oldest:
		return fmt.Sprintf("event %d is not in the log any more: the oldest held is %d", e.Seq, *e.Oldest)
	}
	return fmt.Sprintf("event %d is not in the log: no event has that number (the log holds %d to %d)",
		e.Seq, *e.Oldest, *e.Newest)
}

// Explainer explains who receives which events.
type Explainer struct {
	Pool *pgxpool.Pool
}

//go:embed sql/explain.sql
var explainSQL string

// Explain says whether this client may see this event by its current roles; disabled and deleted clients are explained too. Notes is
// empty. Errors: *MissingEventError, ErrUnknown for a client that never existed, or the database's.
func (x *Explainer) Explain(ctx context.Context, seq int64, kind Kind, uuid string) (*Explanation, error) {
	if !isText(uuid) {
		return nil, ErrUnknown // PostgreSQL would reject it
	}
	var answer struct {
		Explanation
		Event                *ExplainedEvent  `json:"event"`
		Client               *ExplainedClient `json:"client"`
		Oldest, Newest, Last *int64
	}
	err := x.Pool.QueryRow(ctx, explainSQL, seq, kind.String(), uuid).Scan(&answer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("explain event %d: %w", seq, err)
	case answer.Event == nil:
		return nil, &MissingEventError{Seq: seq, Oldest: answer.Oldest, Newest: answer.Newest, Last: answer.Last}
	case answer.Client == nil:
		return nil, ErrUnknown
	}
	explanation := answer.Explanation
	explanation.Event, explanation.Client, explanation.Notes = *answer.Event, *answer.Client, []string{}
	return &explanation, nil
}
