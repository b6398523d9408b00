package opentera_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "terasocket/proto/opentera"
)

// ours are terasocket's additions: every other name and number is OpenTera's.
const ours = `
| TeraEvent.Header | seq | 100 | optional uint64 |
`

// fields and values are a transcript of OpenTera's message dictionary.
const fields = `
| ArchiveEvent | archive_uuid | 1 | string |
| ArchiveEvent | owner_uuid | 2 | string |
| ArchiveEvent | status | 3 | StatusType |
| ArchiveEvent | archive_url | 4 | string |
| CreateSession | source | 1 | string |
| CreateSession | command | 2 | string |
| CreateSession | reply_to | 3 | string |
| DatabaseEvent | type | 1 | EventType |
| DatabaseEvent | object_type | 2 | string |
| DatabaseEvent | object_value | 3 | string |
| DeviceEvent | device_uuid | 1 | string |
| DeviceEvent | type | 2 | EventType |
| DeviceEvent | device_name | 3 | string |
| DeviceEvent | device_status | 4 | string |
| JoinSessionEvent | session_url | 1 | string |
| JoinSessionEvent | session_creator_name | 2 | string |
| JoinSessionEvent | session_uuid | 3 | string |
| JoinSessionEvent | session_participants | 4 | repeated string |
| JoinSessionEvent | session_users | 5 | repeated string |
| JoinSessionEvent | session_devices | 6 | repeated string |
| JoinSessionEvent | join_msg | 7 | string |
| JoinSessionEvent | session_parameters | 8 | string |
| JoinSessionEvent | service_uuid | 9 | string |
| JoinSessionReplyEvent | session_uuid | 1 | string |
| JoinSessionReplyEvent | user_uuid | 2 | string |
| JoinSessionReplyEvent | participant_uuid | 3 | string |
| JoinSessionReplyEvent | device_uuid | 4 | string |
| JoinSessionReplyEvent | join_reply | 5 | ReplyType |
| JoinSessionReplyEvent | reply_msg | 6 | string |
| LeaveSessionEvent | session_uuid | 1 | string |
| LeaveSessionEvent | service_uuid | 2 | string |
| LeaveSessionEvent | leaving_participants | 3 | repeated string |
| LeaveSessionEvent | leaving_users | 4 | repeated string |
| LeaveSessionEvent | leaving_devices | 5 | repeated string |
| LogEvent | level | 1 | LogLevel |
| LogEvent | timestamp | 2 | double |
| LogEvent | sender | 3 | string |
| LogEvent | message | 4 | string |
| LoginEvent | log_header | 1 | LogEvent |
| LoginEvent | login_type | 2 | LoginType |
| LoginEvent | login_status | 3 | LoginStatus |
| LoginEvent | client_name | 4 | string |
| LoginEvent | client_version | 5 | string |
| LoginEvent | client_ip | 6 | string |
| LoginEvent | os_name | 7 | string |
| LoginEvent | os_version | 8 | string |
| LoginEvent | user_uuid | 9 | string |
| LoginEvent | participant_uuid | 10 | string |
| LoginEvent | device_uuid | 11 | string |
| LoginEvent | service_uuid | 12 | string |
| LoginEvent | server_endpoint | 13 | string |
| ParticipantEvent | participant_uuid | 1 | string |
| ParticipantEvent | type | 2 | EventType |
| ParticipantEvent | participant_name | 3 | string |
| ParticipantEvent | participant_project_name | 4 | string |
| ParticipantEvent | participant_site_name | 5 | string |
| Value | double_value | 1 | double (oneof arg_value) |
| Value | float_value | 2 | float (oneof arg_value) |
| Value | int_value | 3 | int64 (oneof arg_value) |
| Value | uint_value | 4 | uint64 (oneof arg_value) |
| Value | bool_value | 5 | bool (oneof arg_value) |
| Value | bytes_value | 6 | bytes (oneof arg_value) |
| Value | string_value | 7 | string (oneof arg_value) |
| RPCMessage | method | 1 | string |
| RPCMessage | reply_to | 2 | string |
| RPCMessage | id | 3 | uint64 |
| RPCMessage | timestamp | 4 | double |
| RPCMessage | args | 5 | repeated Value |
| Result | type | 1 | ResultType |
| Result | code | 2 | int64 |
| Result | message | 3 | string |
| ServerCommand | type | 1 | CommandType |
| ServerCommand | data | 2 | google.protobuf.Any |
| StopSessionEvent | session_uuid | 1 | string |
| StopSessionEvent | service_uuid | 2 | string |
| TeraEvent.Header | version | 1 | uint32 |
| TeraEvent.Header | time | 2 | double |
| TeraEvent.Header | topic | 3 | string |
| TeraEvent | header | 1 | Header |
| TeraEvent | events | 2 | repeated google.protobuf.Any |
| TeraMessage | message | 1 | google.protobuf.Any |
| TeraModuleMessage.Header | version | 1 | uint32 |
| TeraModuleMessage.Header | time | 2 | double |
| TeraModuleMessage.Header | seq | 3 | uint32 |
| TeraModuleMessage.Header | source | 4 | string |
| TeraModuleMessage.Header | dest | 5 | string |
| TeraModuleMessage | head | 1 | Header |
| TeraModuleMessage | data | 2 | repeated google.protobuf.Any |
| UserEvent | user_uuid | 1 | string |
| UserEvent | type | 2 | EventType |
| UserEvent | user_fullname | 3 | string |
| UserRegisterToEvent | event_type | 1 | EventType |
| UserRegisterToEvent | action | 2 | Action |
`

const values = `
| ArchiveEvent.StatusType | STATUS_PENDING | 0 |
| ArchiveEvent.StatusType | STATUS_INPROGRESS | 1 |
| ArchiveEvent.StatusType | STATUS_COMPLETED | 2 |
| ArchiveEvent.StatusType | STATUS_CANCELLED | 3 |
| ArchiveEvent.StatusType | STATUS_DELETED | 4 |
| DatabaseEvent.EventType | DB_UNKNOWN | 0 |
| DatabaseEvent.EventType | DB_CREATE | 1 |
| DatabaseEvent.EventType | DB_UPDATE | 2 |
| DatabaseEvent.EventType | DB_DELETE | 3 |
| DeviceEvent.EventType | DEVICE_UNKNOWN | 0 |
| DeviceEvent.EventType | DEVICE_CONNECTED | 1 |
| DeviceEvent.EventType | DEVICE_DISCONNECTED | 2 |
| DeviceEvent.EventType | DEVICE_DELETED | 3 |
| DeviceEvent.EventType | DEVICE_ADDED | 4 |
| DeviceEvent.EventType | DEVICE_JOINED_SESSION | 5 |
| DeviceEvent.EventType | DEVICE_LEFT_SESSION | 6 |
| DeviceEvent.EventType | DEVICE_STATUS_CHANGED | 7 |
| JoinSessionReplyEvent.ReplyType | REPLY_UNKNOWN | 0 |
| JoinSessionReplyEvent.ReplyType | REPLY_ACCEPTED | 1 |
| JoinSessionReplyEvent.ReplyType | REPLY_DENIED | 2 |
| JoinSessionReplyEvent.ReplyType | REPLY_BUSY | 3 |
| JoinSessionReplyEvent.ReplyType | REPLY_TIMEOUT | 4 |
| LogEvent.LogLevel | LOGLEVEL_UNKNOWN | 0 |
| LogEvent.LogLevel | LOGLEVEL_TRACE | 7 |
| LogEvent.LogLevel | LOGLEVEL_DEBUG | 6 |
| LogEvent.LogLevel | LOGLEVEL_INFO | 5 |
| LogEvent.LogLevel | LOGLEVEL_WARNING | 4 |
| LogEvent.LogLevel | LOGLEVEL_CRITICAL | 3 |
| LogEvent.LogLevel | LOGLEVEL_ERROR | 2 |
| LogEvent.LogLevel | LOGLEVEL_FATAL | 1 |
| LoginEvent.LoginStatus | LOGIN_STATUS_UNKNOWN | 0 |
| LoginEvent.LoginStatus | LOGIN_STATUS_SUCCESS | 1 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_WRONG_PASSWORD | 2 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_WRONG_USERNAME | 3 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_MAX_ATTEMPTS_REACHED | 4 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_ALREADY_LOGGED_IN | 5 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_INVALID_TOKEN | 6 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_DISABLED_ACCOUNT | 7 |
| LoginEvent.LoginStatus | LOGIN_STATUS_FAILED_WITH_EXPIRED_TOKEN | 8 |
| LoginEvent.LoginType | LOGIN_TYPE_UNKNOWN | 0 |
| LoginEvent.LoginType | LOGIN_TYPE_TOKEN | 1 |
| LoginEvent.LoginType | LOGIN_TYPE_PASSWORD | 2 |
| LoginEvent.LoginType | LOGIN_TYPE_CERTIFICATE | 3 |
| ParticipantEvent.EventType | PARTICIPANT_UNKNOWN | 0 |
| ParticipantEvent.EventType | PARTICIPANT_CONNECTED | 1 |
| ParticipantEvent.EventType | PARTICIPANT_DISCONNECTED | 2 |
| ParticipantEvent.EventType | PARTICIPANT_DELETED | 3 |
| ParticipantEvent.EventType | PARTICIPANT_ADDED | 4 |
| ParticipantEvent.EventType | PARTICIPANT_JOINED_SESSION | 5 |
| ParticipantEvent.EventType | PARTICIPANT_LEFT_SESSION | 6 |
| Result.ResultType | RESULT_UNKNOWN | 0 |
| Result.ResultType | RESULT_OK | 1 |
| Result.ResultType | RESULT_ERROR | 2 |
| Result.ResultType | RESULT_WARNING | 3 |
| ServerCommand.CommandType | CMD_UNKNOWN | 0 |
| ServerCommand.CommandType | CMD_REGISTER_DEVICE | 1 |
| ServerCommand.CommandType | CMD_CLIENT_DISCONNECT | 2 |
| UserEvent.EventType | USER_UNKNOWN | 0 |
| UserEvent.EventType | USER_CONNECTED | 1 |
| UserEvent.EventType | USER_DISCONNECTED | 2 |
| UserEvent.EventType | USER_DELETED | 3 |
| UserEvent.EventType | USER_ADDED | 4 |
| UserEvent.EventType | USER_UPDATED | 5 |
| UserEvent.EventType | USER_JOINED_SESSION | 6 |
| UserEvent.EventType | USER_LEFT_SESSION | 7 |
| UserRegisterToEvent.EventType | EVENT_UNKNOWN | 0 |
| UserRegisterToEvent.EventType | EVENT_USER_CONNECTED | 1 |
| UserRegisterToEvent.EventType | EVENT_USER_DISCONNECTED | 2 |
| UserRegisterToEvent.EventType | EVENT_USER_DELETED | 3 |
| UserRegisterToEvent.EventType | EVENT_USER_ADDED | 4 |
| UserRegisterToEvent.EventType | EVENT_USER_UPDATED | 5 |
| UserRegisterToEvent.EventType | EVENT_PARTICIPANT_CONNECTED | 6 |
| UserRegisterToEvent.EventType | EVENT_PARTICIPANT_DISCONNECTED | 7 |
| UserRegisterToEvent.EventType | EVENT_PARTICIPANT_DELETED | 8 |
| UserRegisterToEvent.EventType | EVENT_PARTICIPANT_ADDED | 9 |
| UserRegisterToEvent.EventType | EVENT_PARTICIPANT_UPDATED | 10 |
| UserRegisterToEvent.EventType | EVENT_DEVICE_CONNECTED | 11 |
| UserRegisterToEvent.EventType | EVENT_DEVICE_DISCONNECTED | 12 |
| UserRegisterToEvent.EventType | EVENT_DEVICE_DELETED | 13 |
| UserRegisterToEvent.EventType | EVENT_DEVICE_ADDED | 14 |
| UserRegisterToEvent.EventType | EVENT_DEVICE_UPDATED | 15 |
| UserRegisterToEvent.Action | ACTION_UNKNOWN | 0 |
| UserRegisterToEvent.Action | ACTION_REGISTER | 1 |
| UserRegisterToEvent.Action | ACTION_UNREGISTER | 2 |
`

// TestDictionary compares the complete generated descriptors with the tables: a different, missing or additional name, number, type or
// label is an error.
func TestDictionary(t *testing.T) {
	var gotFields, gotValues []string
	protoregistry.GlobalFiles.RangeFilesByPackage("opentera.protobuf", func(f protoreflect.FileDescriptor) bool {
		if f.Syntax() != protoreflect.Proto3 {
			t.Errorf("%s: syntax %v, want proto3", f.Path(), f.Syntax())
		}
		if n := f.Messages().Len(); n != 1 && f.Path() != "opentera/rpc_message.proto" {
			t.Errorf("%s: %d top-level messages, want 1", f.Path(), n)
		}
		if f.Enums().Len() != 0 || f.Services().Len() != 0 || f.Extensions().Len() != 0 {
			t.Errorf("%s: top-level enum, service or extension", f.Path())
		}
		walk(f.Messages(), &gotFields, &gotValues)
		return true
	})
	compare(t, "field", rows(fields+ours), gotFields)
	compare(t, "enum value", rows(values), gotValues)
}

func walk(messages protoreflect.MessageDescriptors, fields, values *[]string) {
	for i := range messages.Len() {
		m := messages.Get(i)
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			*fields = append(*fields, row(short(m), f.Name(), f.Number(), kind(f)))
		}
		for j := range m.Enums().Len() {
			e := m.Enums().Get(j)
			for k := range e.Values().Len() {
				v := e.Values().Get(k)
				*values = append(*values, row(short(e), v.Name(), v.Number()))
			}
		}
		walk(m.Messages(), fields, values)
	}
}

// kind returns type and label of a field as the dictionary writes them.
func kind(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch f.Kind() {
	case protoreflect.EnumKind:
		name = string(f.Enum().Name())
		if f.Enum().Parent() != f.Parent() {
			name = "foreign " + name
		}
	case protoreflect.MessageKind:
		name = string(f.Message().FullName())
		if f.Message().ParentFile().Package() == "opentera.protobuf" {
			name = string(f.Message().Name())
		}
		if p, ok := f.Message().Parent().(protoreflect.MessageDescriptor); ok && p != f.Parent() {
			name = "foreign " + name
		}
	}
	switch {
	case f.IsMap():
		return "map"
	case f.IsList():
		return "repeated " + name
	case f.HasOptionalKeyword():
		return "optional " + name
	case f.ContainingOneof() != nil:
		return fmt.Sprintf("%s (oneof %s)", name, f.ContainingOneof().Name())
	}
	return name
}

func short(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), "opentera.protobuf.")
}

func row(cells ...any) string {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	return "| " + strings.Join(text, " | ") + " |"
}

func rows(table string) []string {
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(table, "\n\n", "\n")), "\n")
}

func compare(t *testing.T, what string, want, got []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%s of the dictionary lacks: %s", what, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("%s is not in the dictionary: %s", what, g)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d %ss, the dictionary has %d", len(got), what, len(want))
	}
}
