package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"terasocket/proto/opentera"
)

// ObjectTypes are the 18 kinds of entities whose changes OpenTera announces, by their names in DatabaseEvent.object_type
// (database-events.md).
var ObjectTypes = [...]string{
	"asset",
	"device",
	"participant",
	"participant_group",
	"project",
	"session",
	"session_type",
	"site",
	"user",
	"user_group",
	"test_type",
	"test",
	"test_invitation",
	"service",
	"session_type_site",
	"session_type_service",
	"session_type_project",
	"server_settings",
}

// object is the content of an Event of kind Object. Its texts are object_values: the JSON text of one object, passed on byte for byte.
type object struct {
	isSoftDelete bool
	body         string // its current state; "" if it is gone, or nobody may see it
	restricted   string // of a service: body without what only superadmins may see
	gone         string // of its DB_DELETE: only its keys
}

// newObject checks an object's row and takes over its contents.
func newObject(r Record) (object, error) {
	if !slices.Contains(ObjectTypes[:], r.ObjectType) {
		return object{}, fmt.Errorf("unknown object type %.80q", r.ObjectType)
	}
	o := object{body: r.Body, restricted: r.Body, gone: r.Gone}
	switch r.Op {
	case "C", "U":
	case "G":
		o.isSoftDelete = true
	case "D":
		if r.Present != "" {
			return object{}, errors.New("present on a delete")
		}
		o.body, o.restricted = "", ""
	default:
		return object{}, fmt.Errorf("unknown op %.80q", r.Op)
	}
	if o.body != "" || r.Present != "" || o.isSoftDelete {
		if err := checkObject(o.body); err != nil {
			return object{}, fmt.Errorf("body: %w", err)
		}
	}
	if o.gone != "" || r.Former != "" {
		if err := checkObject(o.gone); err != nil {
			return object{}, fmt.Errorf("gone: %w", err)
		}
	}
	if r.ObjectType == "service" && o.body != "" {
		var err error
		if o.restricted, err = withoutPlaces(o.body); err != nil {
			return object{}, fmt.Errorf("body: %w", err)
		}
	}
	return o, nil
}

// checkObject checks that text is the JSON text of one object.
func checkObject(text string) error {
	switch {
	case !utf8.ValidString(text):
		return errors.New("not valid UTF-8")
	case !strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") || !json.Valid([]byte(text)):
		return errors.New("not a JSON object")
	}
	return nil
}

// databaseEvent returns the message of a form.
func (e *Event) databaseEvent(form Form) (*opentera.DatabaseEvent, error) {
	m := &opentera.DatabaseEvent{ObjectType: e.ObjectType}
	switch form {
	case Create, CreateRestricted:
		m.Type = opentera.DatabaseEvent_DB_CREATE
	case Update, UpdateRestricted, Gone, GoneRestricted:
		m.Type = opentera.DatabaseEvent_DB_UPDATE
	case Delete:
		m.Type = opentera.DatabaseEvent_DB_DELETE
	default:
		return nil, fmt.Errorf("an object has no form %d", form)
	}
	switch form {
	case Create, Update, Gone:
		m.ObjectValue = e.object.body
	case Delete:
		m.ObjectValue = e.object.gone
	default:
		m.ObjectValue = e.object.restricted
	}
	if m.ObjectValue == "" {
		return nil, fmt.Errorf("the row has nothing for form %d", form)
	}
	return m, nil
}
