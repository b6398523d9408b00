package migrations_test

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"terasocket/proto/event"
)

// stateOf returns the SQLSTATE of an error.
func stateOf(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// told returns the rows of the log since the last call in short: "U site 1", "Rights user 9 -p:1 +s:2", "Settled".
func (f *fixture) told() []string {
	f.Helper()
	all := []string{}
	for _, r := range f.rows() {
		all = append(all, short(f, r))
	}
	return all
}

func short(f *fixture, r event.Record) string {
	f.Helper()
	name := r.Type[strings.LastIndex(r.Type, ".")+1:]
	switch name {
	case "DatabaseEvent":
		return fmt.Sprintf("%s %s %d", r.Op, r.ObjectType, r.ObjectID)
	case "Rights":
		text := fmt.Sprintf("Rights %s %d", r.ObjectType, r.ObjectID)
		for _, sign := range []string{"lost", "gained"} {
			for _, tag := range decoded(f, r.Body)[sign].([]any) {
				text += fmt.Sprintf(" %s%s", map[string]string{"lost": "-", "gained": "+"}[sign], tag)
			}
		}
		return text
	case "Alias":
		return fmt.Sprintf("Alias %s", decoded(f, r.Body)["tag"])
	case "Kick":
		return fmt.Sprintf("Kick %s %d", r.ObjectType, r.ObjectID)
	}
	return name
}

// remembers compares told, holdings and aliases with the database: the keys of every living object, the tags of everybody, and the
// aliases.
func (f *fixture) remembers() {
	f.Helper()
	f.announce()
	for _, objectType := range oneOn[[]string](f, f.teller, "SELECT array_agg(object_type) FROM terasocket.object_types") {
		wrong := oneOn[[]string](f, f.teller, `SELECT coalesce(array_agg(concat_ws(' ', coalesce(n.id, w.id), 'is', n.keys, n.gone, 'told', w.keys, w.gone)), '{}')
			FROM (SELECT o.id, terasocket.keys($1, o.r) AS keys, terasocket.deleted_body(t, o.r) AS gone
			      FROM terasocket.object_types t, terasocket.rows($1, terasocket.all_ids($1)) o WHERE t.object_type = $1 AND o.r ->> 'deleted_at' IS NULL) n
			FULL JOIN (SELECT * FROM terasocket.told WHERE object_type = $1) w ON w.id = n.id
			WHERE w.keys IS DISTINCT FROM n.keys OR w.gone IS DISTINCT FROM n.gone`, objectType)
		if len(wrong) > 0 {
			f.Errorf("%d of %s differ from told: %.500s", len(wrong), objectType, wrong)
		}
	}
	wrong := oneOn[[]string](f, f.teller, `SELECT coalesce(array_agg(concat_ws(' ', k.kind, d.id, d.tag, d.says)), '{}') FROM unnest('{user,participant,device}'::text[]) k (kind),
		LATERAL (SELECT a.id, a.tag, 'is not remembered' AS says FROM (SELECT t.id, t.tag FROM terasocket.tags_of(k.kind, terasocket.all_ids(k.kind)::integer[]) t
		         EXCEPT SELECT h.id, h.tag FROM terasocket.holdings h WHERE h.kind = k.kind) a
		         UNION ALL
		         SELECT a.id, a.tag, 'is not so' FROM (SELECT h.id, h.tag FROM terasocket.holdings h WHERE h.kind = k.kind
		         EXCEPT SELECT t.id, t.tag FROM terasocket.tags_of(k.kind, terasocket.all_ids(k.kind)::integer[]) t) a) d`)
	if len(wrong) > 0 {
		f.Errorf("%d tags: %.500s", len(wrong), wrong)
	}
}
