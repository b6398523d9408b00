package bridge

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/proto/opentera"
)

var (
	//go:embed sql/untold.sql
	untoldSQL string
	//go:embed sql/record.sql
	recordSQL string
)

const (
	tellBatch = 200
	tellLimit = 5 * time.Second // for one statement
)

// untold is a principal that the user manager must be told about.
type untold struct {
	Kind      string
	Principal int32
	Comes     bool
	Event     string // ProtoJSON with @type
}

// tell tells the user manager who connects and disconnects: those whose sockets changed, or everybody that differs from what it
// was told. Those left when a probe is due are told next time; after an error some are still untold.
func (r *reign) tell(ctx context.Context, everybody bool) error {
	for began := time.Now(); ; {
		switch n, err := r.tellSome(ctx, everybody); {
		case err != nil, n == 0:
			return err
		case time.Since(began) > r.Probe:
			r.everybody = r.everybody || everybody
			return nil
		}
	}
}

// tellSome tells it about tellBatch principals at most, and returns how many they were.
func (r *reign) tellSome(ctx context.Context, everybody bool) (n int, err error) {
	list, err := r.untold(ctx, everybody)
	if err == nil && len(list) > 0 {
		err = r.say(ctx, list)
	}
	if err == nil {
		err = r.record(ctx, list)
	}
	if err != nil {
		r.reconciled = time.Time{} // some may count as told although they were not heard, or the reverse
	}
	return len(list), err
}

func (r *reign) untold(ctx context.Context, everybody bool) ([]untold, error) {
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	rows, err := r.Pool.Query(ctx, untoldSQL, r.term, everybody, tellBatch)
	if err != nil {
		return nil, fmt.Errorf("ask who comes and goes: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[untold])
	switch {
	case lost(err):
		return nil, errLost
	case err != nil:
		return nil, fmt.Errorf("ask who comes and goes: %w", err)
	}
	return list, nil
}

// say publishes one event a message. They count as heard if the user manager listened just before and just after.
func (r *reign) say(ctx context.Context, list []untold) error {
	if err := r.listens(ctx); err != nil {
		return err
	}
	if !r.isHeld() {
		return errNotHeld
	}
	pipe := r.Redis.Pipeline()
	for _, who := range list {
		event := new(anypb.Any)
		if err := protojson.Unmarshal([]byte(who.Event), event); err != nil {
			return fmt.Errorf("the event of a %s is not of OpenTera's", who.Kind)
		}
		message := &opentera.TeraModuleMessage{
			Head: &opentera.TeraModuleMessage_Header{Version: 1, Time: seconds(time.Now()), Source: ourSource + r.Gateway, Dest: messagesTopic},
			Data: []*anypb.Any{event},
		}
		if err := queue(ctx, pipe, messagesTopic, message); err != nil {
			return err
		}
	}
	after := pipe.Publish(ctx, rpcTopic, "")
	if _, err := pipe.Exec(ctx); err != nil {
		r.heardOf(false)
		return fmt.Errorf("tell the user manager: %w", err)
	}
	for _, who := range list {
		r.Metrics.sent.WithLabelValues(strings.ToUpper(who.Kind[:1]) + who.Kind[1:] + "Event").Inc()
	}
	return r.wasHeard(after)
}

func (r *reign) wasHeard(after *redis.IntCmd) error {
	if r.heardOf(after.Val() > 0); after.Val() == 0 {
		return errDeaf
	}
	return nil
}

// record marks the disconnected as told. If the user manager has raised at an earlier message, it has dropped its connection with
// unread messages that Redis counts as received: reconciliation finds those.
func (r *reign) record(ctx context.Context, list []untold) error {
	kinds, ids := []string{}, []int32{}
	for _, who := range list {
		if !who.Comes {
			kinds, ids = append(kinds, who.Kind), append(ids, who.Principal)
		}
	}
	if len(kinds) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tellLimit)
	defer cancel()
	if _, err := r.Pool.Exec(ctx, recordSQL, r.term, kinds, ids); lost(err) {
		return errLost
	} else if err != nil {
		return fmt.Errorf("record who was told of: %w", err)
	}
	return nil
}
