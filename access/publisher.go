package access

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Publication is one event to publish. What its topic means, what it may hold and who hears it is decided in the
// database (migration 0005).
type Publication struct {
	Topic string // OpenTera's topic, "websocket.user.<uuid>.events"
	Type  string // full name of the message, "opentera.protobuf.StopSessionEvent"
	Event []byte // the serialized message
}

// PublishError says which event of several was refused, and why. None of them was published.
type PublishError struct {
	Index    int    // from 0
	Problem  string // names the argument: "event has no sessionUuid"
	IsTooBig bool   // more than terasocket.max_event_bytes
}

func (e *PublishError) Error() string { return fmt.Sprintf("publish event %d: %s", e.Index, e.Problem) }

// Publisher writes events of services to the log.
type Publisher struct {
	Pool *pgxpool.Pool
}

//go:embed sql/publish.sql
var publishSQL string

// SQLSTATEs of terasocket.publish().
const (
	refusedState = "22023" // invalid_parameter_value
	tooBigState  = "54000" // program_limit_exceeded
)

// Publish publishes all of them or none, in one transaction and one round trip, and returns their seqs in order; 0 is
// that of a message to the user manager about nobody.
// Errors: a *PublishError, or the database's.
func (p *Publisher) Publish(ctx context.Context, events []Publication) ([]uint64, error) {
	batch := &pgx.Batch{} // a batch is one transaction
	for _, e := range events {
		// PostgreSQL's texts hold no zero bytes and nothing but UTF-8
		if !isText(e.Topic) || !isText(e.Type) {
			return nil, &PublishError{Index: batch.Len(), Problem: "topic or type is empty, not UTF-8 or has a zero byte in it"}
		}
		if e.Event == nil {
			e.Event = []byte{} // the empty message, not null
		}
		batch.Queue(publishSQL, e.Topic, e.Type, e.Event)
	}
	seqs := make([]uint64, len(events))
	results := p.Pool.SendBatch(ctx, batch)
	for i := range events {
		var seq *int64
		if err := results.QueryRow().Scan(&seq); err != nil {
			_ = results.Close()
			return nil, publishError(i, err)
		}
		if seq != nil {
			seqs[i] = uint64(*seq)
		}
	}
	if err := results.Close(); err != nil { // the commit
		return nil, fmt.Errorf("publish: %w", err)
	}
	return seqs, nil
}

func publishError(i int, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && (refused.Code == refusedState || refused.Code == tooBigState) {
		if problem, isOurs := strings.CutPrefix(refused.Message, "publish: "); isOurs {
			return &PublishError{Index: i, Problem: problem, IsTooBig: refused.Code == tooBigState}
		}
	}
	return fmt.Errorf("publish: %w", err)
}
