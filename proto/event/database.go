package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"terasocket/proto/opentera"
)

const (
	databaseEvent = "opentera.protobuf.DatabaseEvent"
	deleted       = opentera.DatabaseEvent_DB_DELETE
)

// ObjectTypes are the 18 kinds of entity whose changes OpenTera announces, by
// the names that DatabaseEvent.object_type gives them (database-events.md).
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

func parseOp(op string) (opentera.DatabaseEvent_EventType, error) {
	switch op {
	case "C":
		return opentera.DatabaseEvent_DB_CREATE, nil
	case "U":
		return opentera.DatabaseEvent_DB_UPDATE, nil
	case "D":
		return deleted, nil
	}
	return 0, fmt.Errorf("unknown op %.80q", op)
}

// newDatabaseEvent wants body to be the JSON text of one object.
func newDatabaseEvent(op opentera.DatabaseEvent_EventType, objectType, body string) (proto.Message, error) {
	switch {
	case !utf8.ValidString(body):
		return nil, errors.New("not valid UTF-8")
	case !strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") || !json.Valid([]byte(body)):
		return nil, errors.New("not a JSON object")
	}
	return &opentera.DatabaseEvent{Type: op, ObjectType: objectType, ObjectValue: body}, nil
}
