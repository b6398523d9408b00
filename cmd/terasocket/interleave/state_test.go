package interleave

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed testdata/state.sql
var stateSQL string

// object is one object of one of the 18 types.
type object struct {
	objectType string
	id         int
}

func (o object) String() string { return fmt.Sprintf("%s %d", o.objectType, o.id) }

// body is what is compared of an object_value: the columns that clients see except times, whose format is tested elsewhere.
type body struct {
	columns string // canonical JSON
	isDead  bool
	rest    map[string]any // computed keys
}

// seen lists the compared columns, by object type. Null and empty count as absent.
var seen = map[string][]string{
	"site":                 {"id_site", "site_2fa_required", "site_name"},
	"project":              {"id_project", "id_site", "project_description", "project_enabled", "project_name"},
	"user":                 {"id_user", "user_2fa_enabled", "user_enabled", "user_firstname", "user_lastname", "user_superadmin", "user_uuid"},
	"user_group":           {"id_user_group", "user_group_name"},
	"participant_group":    {"id_participant_group", "id_project", "participant_group_name"},
	"participant":          {"id_participant", "id_participant_group", "id_project", "participant_email", "participant_enabled", "participant_name", "participant_token_enabled", "participant_uuid"},
	"device":               {"device_enabled", "device_name", "device_uuid", "id_device", "id_device_subtype", "id_device_type"},
	"service":              {"id_service", "service_clientendpoint", "service_enabled", "service_endpoint", "service_hostname", "service_key", "service_name", "service_port", "service_system", "service_uuid"},
	"session_type":         {"id_service", "id_session_type", "session_type_category", "session_type_color", "session_type_name"},
	"session_type_site":    {"id_session_type", "id_session_type_site", "id_site"},
	"session_type_project": {"id_project", "id_session_type", "id_session_type_project"},
	"session_type_service": {"id_service", "id_session_type", "id_session_type_service"},
	"session":              {"id_creator_device", "id_creator_participant", "id_creator_service", "id_creator_user", "id_session", "id_session_type", "session_duration", "session_name", "session_status", "session_uuid"},
	"asset":                {"asset_name", "asset_service_uuid", "asset_type", "asset_uuid", "id_asset", "id_device", "id_participant", "id_service", "id_session", "id_user"},
	"test_type":            {"id_service", "id_test_type", "test_type_description", "test_type_key", "test_type_name", "test_type_uuid"},
	"test":                 {"id_device", "id_participant", "id_service", "id_session", "id_test", "id_test_type", "id_user", "test_name", "test_status", "test_summary", "test_uuid"},
	"test_invitation":      {"id_device", "id_participant", "id_project", "id_session", "id_test_invitation", "id_test_type", "id_user", "test_invitation_count", "test_invitation_key", "test_invitation_message"},
	"server_settings":      {"id_server_settings", "server_settings_name"},
}

// goneKeys lists all that a DB_DELETE may contain.
var goneKeys = map[string][]string{
	"site": {"id_site"}, "project": {"id_project"}, "user": {"id_user", "user_uuid"}, "user_group": {"id_user_group"},
	"participant_group": {"id_participant_group"}, "participant": {"id_participant", "participant_uuid"}, "device": {"id_device", "device_uuid"},
	"service": {"id_service", "service_key"}, "session_type": {"id_session_type", "id_service"}, "session_type_site": {"id_session_type_site"},
	"session_type_project": {"id_session_type_project"}, "session_type_service": {"id_session_type_service"}, "session": {"id_session", "session_uuid"},
	"asset": {"id_asset", "asset_uuid"}, "test_type": {"id_test_type", "test_type_uuid"}, "test": {"id_test", "test_uuid"},
	"test_invitation": {"id_test_invitation", "test_invitation_key"}, "server_settings": {"id_server_settings"},
}

func newBody(objectType string, value map[string]any) body {
	b := body{rest: maps.Clone(value)}
	columns := map[string]any{}
	for _, k := range seen[objectType] {
		if v := value[k]; v != nil && v != "" {
			columns[k] = v
		}
		delete(b.rest, k)
	}
	b.isDead = value["deleted_at"] != nil
	text, err := json.Marshal(columns) // sorts the keys
	if err != nil {
		panic(err) // it was JSON
	}
	b.columns = string(text)
	return b
}

// row is an object in a state, even if deleted.
type row struct {
	body     body
	minimal  string // keys of its DB_DELETE
	version  string // changes when the row is written
	links    string // changes when a row of its own link tables is written
	linked   string // what these link to
	keys     string // on which its visibility depends
	computed map[string]any
	viewers  []int
}

func (r *row) isAlive() bool            { return r != nil && !r.body.isDead }
func (r *row) isSeenBy(viewer int) bool { return r != nil && slices.Contains(r.viewers, viewer) }

// state is what was committed at one moment.
type state struct {
	after  string // the step that committed it
	rows   map[object]*row
	rights map[int]string // of each user, as text
	mayBe  map[int]bool   // users who are enabled and not deleted
	super  map[int]bool

	inParts bool // few objects at a time are announced
}

func readState(ctx context.Context, conn *pgx.Conn, after string) (*state, error) {
	rows, err := conn.Query(ctx, stateSQL)
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	s := &state{after: after, rows: map[object]*row{}, rights: map[int]string{}, mayBe: map[int]bool{}, super: map[int]bool{}}
	var o object
	var whole, computed map[string]any
	var r row
	_, err = pgx.ForEachRow(rows, []any{&o.objectType, &o.id, &whole, &r.version, &r.links, &r.linked, &r.keys, &computed, &r.viewers}, func() error {
		if o.objectType == "rights" {
			s.mayBe[o.id], s.super[o.id] = whole["user_enabled"] == true, whole["user_superadmin"] == true
			s.rights[o.id] = fmt.Sprint(whole)
			whole = nil
			return nil
		}
		kept := r
		kept.viewers = slices.Clone(r.viewers)
		kept.body, kept.computed = newBody(o.objectType, whole), maps.Clone(computed)
		var minimal []string
		for _, k := range goneKeys[o.objectType] {
			minimal = append(minimal, fmt.Sprint(whole[k]))
		}
		kept.minimal = strings.Join(minimal, " ")
		s.rows[o] = &kept
		whole, computed = nil, nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read state: %w", err)
	}
	return s, nil
}

// isSame reports whether nothing was written between two states.
func (s *state) isSame(o *state) bool {
	return maps.Equal(s.rights, o.rights) && maps.EqualFunc(s.rows, o.rows, func(a, b *row) bool {
		return a.version == b.version && a.links == b.links && a.keys == b.keys && slices.Equal(a.viewers, b.viewers)
	})
}
