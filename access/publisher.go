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
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
)

// MaxEvents is the highest number of events of one call over REST, and of one message of OpenTera.
const MaxEvents = 1000

// Publication is one event to publish. The database decides what its topic means, what it may hold and who receives it
// (migrations/functions/publish.sql).
type Publication struct {
	Topic string     // OpenTera's topic, "websocket.user.<uuid>.events"
	Event *anypb.Any // the message, for example "type.googleapis.com/opentera.protobuf.StopSessionEvent"
}

// PublishError says which of several events was refused, and why. None of them was published.
type PublishError struct {
	Index    int    // from 0
	Problem  string // names the argument: "event has no sessionUuid"
	IsTooBig bool   // more than terasocket.max_event_bytes
}

func (e *PublishError) Error() string { return fmt.Sprintf("publish event %d: %s", e.Index, e.Problem) }

// Publisher captures events of services, which are announced in order after they are committed.
type Publisher struct {
	Pool *pgxpool.Pool
}

//go:embed sql/publish.sql
var publishSQL string

// SQLSTATEs of refusals; the first two are raised by terasocket.publish().
const (
	refusedState  = "22023" // invalid_parameter_value
	tooBigState   = "54000" // program_limit_exceeded
	zeroByteState = "22P05" // untranslatable_character: "\u0000" in JSON
)

// Publish publishes all events or none, in one transaction and one round trip.
// Errors: *PublishError, or the database's.
func (p *Publisher) Publish(ctx context.Context, events []Publication) error {
	batch := &pgx.Batch{} // a batch is one transaction
	for i, e := range events {
		text, problem := e.ProtoJSON()
		if problem != "" {
			return &PublishError{Index: i, Problem: problem}
		}
		batch.Queue(publishSQL, e.Topic, text)
	}
	results := p.Pool.SendBatch(ctx, batch)
	for i := range events {
		if _, err := results.Exec(); err != nil {
			_ = results.Close()
			return publishError(i, err)
		}
	}
	if err := results.Close(); err != nil { // the commit
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// ProtoJSON returns the event as terasocket.publish() takes it, or the problem that prevents it. A field unknown to the message type is a
// problem, since ProtoJSON would lose it.
func (e Publication) ProtoJSON() (text, problem string) {
	if !isText(e.Topic) { // PostgreSQL's text is UTF-8 without zero bytes
		return "", "topic is empty, not UTF-8 or has a zero byte in it"
	}
	message, err := e.Event.UnmarshalNew()
	if err != nil {
		return "", fmt.Sprintf("event is not a serialized %.100q of OpenTera's", e.Event.GetTypeUrl())
	}
	if len(message.ProtoReflect().GetUnknown()) > 0 {
		return "", fmt.Sprintf("event has a field that %s has not", message.ProtoReflect().Descriptor().FullName())
	}
	json, err := protojson.Marshal(e.Event)
	if err != nil {
		return "", "event has no JSON"
	}
	return string(json), ""
}

func publishError(i int, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		problem, isOurs := strings.CutPrefix(refused.Message, "publish: ")
		switch {
		case refused.Code == zeroByteState:
			return &PublishError{Index: i, Problem: "event has a zero byte in it"}
		case isOurs && (refused.Code == refusedState || refused.Code == tooBigState):
			return &PublishError{Index: i, Problem: problem, IsTooBig: refused.Code == tooBigState}
		}
	}
	return fmt.Errorf("publish: %w", err)
}
