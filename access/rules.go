package access

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Rules answers who may see what, from OpenTera's own role tables.
// Source of the rules: OpenTera's access rules, in SQL in migration 0002.
type Rules struct {
	Pool *pgxpool.Pool
}

//go:embed sql/audience.sql
var audienceSQL string

// Audiences gives for each of these routing keys the principals that hold it now, in no order; none for a key that is
// malformed or held by nobody. Equal keys share their slice: do not change it. It asks the database once, however many
// keys there are.
func (r *Rules) Audiences(ctx context.Context, keys []string) ([][]Principal, error) {
	audiences := make([][]Principal, len(keys))
	places := make(map[string]int, len(keys)) // of each key in asked
	var asked []string
	for _, key := range keys {
		if _, isKnown := places[key]; !isKnown && isText(key) {
			places[key] = len(asked)
			asked = append(asked, key)
		}
	}
	if len(asked) == 0 {
		return audiences, nil
	}
	answers, err := r.ask(ctx, asked)
	if err != nil {
		return nil, fmt.Errorf("ask for the audience: %w", err)
	}
	for i, key := range keys {
		if place, isKnown := places[key]; isKnown {
			audiences[i] = answers[place]
		}
	}
	return audiences, nil
}

// isText says whether PostgreSQL takes it for a text; a key that is none would be an error of the whole batch.
func isText(key string) bool {
	return key != "" && utf8.ValidString(key) && !strings.Contains(key, "\x00")
}

func (r *Rules) ask(ctx context.Context, keys []string) ([][]Principal, error) {
	rows, err := r.Pool.Query(ctx, audienceSQL, keys)
	if err != nil {
		return nil, err
	}
	answers := make([][]Principal, len(keys))
	var ord int64
	var kind int16
	var ids []int32
	_, err = pgx.ForEachRow(rows, []any{&ord, &kind, &ids}, func() error {
		if ord < 1 || ord > int64(len(keys)) || kind < int16(User) || kind > int16(Device) {
			return fmt.Errorf("answer %d of kind %d was not asked for", ord, kind)
		}
		for _, id := range ids {
			answers[ord-1] = append(answers[ord-1], Principal{Kind: Kind(kind), ID: id})
		}
		return nil
	})
	return answers, err
}
