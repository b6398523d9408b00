package event_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

var encodings = map[string]event.Encoding{
	"protobuf": event.Protobuf, "json": event.JSON, "jsonWithSeq": event.JSONWithSeq,
}

// sample is real output of OpenTera.
const sample = `{
  "message": {
    "@type": "type.googleapis.com/opentera.protobuf.TeraEvent",
    "header": {
      "version": 1,
      "time": 1732325000.123456,
      "topic": "module.TeraServer.UserManagerModule.events"
    },
    "events": [
      {
        "@type": "type.googleapis.com/opentera.protobuf.UserEvent",
        "userUuid": "u1",
        "type": "USER_CONNECTED",
        "userFullname": "R\u00e9al \u00c9"
      }
    ]
  }
}`

func sampleEvent() event.Event {
	return event.Event{
		Seq: math.MaxUint64, At: time.Unix(1732325000, 123456789), Topic: "module.TeraServer.UserManagerModule.events",
		Message: &opentera.UserEvent{UserUuid: "u1", Type: opentera.UserEvent_USER_CONNECTED, UserFullname: "Réal É"},
	}
}

func TestEncodeSample(t *testing.T) {
	t.Parallel()
	e := sampleEvent()
	want := parseJSON(t, []byte(sample))
	if got := parseJSON(t, encode(t, &e, event.Plain, event.JSON)); !reflect.DeepEqual(got, want) {
		t.Errorf("JSON: %v\nwant %v", got, want)
	}
	header := want["message"].(map[string]any)["header"].(map[string]any)
	header["seq"] = "18446744073709551615"
	if got := parseJSON(t, encode(t, &e, event.Plain, event.JSONWithSeq)); !reflect.DeepEqual(got, want) {
		t.Errorf("JSONWithSeq: %v\nwant %v", got, want)
	}
}

// keys are the keys that OpenTera's clients know and require.
var keys = map[string]string{
	"UserEvent":             "userUuid type userFullname",
	"ParticipantEvent":      "participantUuid type participantName participantProjectName participantSiteName",
	"DeviceEvent":           "deviceUuid type deviceName deviceStatus",
	"JoinSessionEvent":      "sessionUrl sessionCreatorName sessionUuid sessionParticipants sessionUsers sessionDevices joinMsg sessionParameters serviceUuid",
	"JoinSessionReplyEvent": "sessionUuid userUuid participantUuid deviceUuid joinReply replyMsg",
	"LeaveSessionEvent":     "sessionUuid serviceUuid leavingParticipants leavingUsers leavingDevices",
	"StopSessionEvent":      "sessionUuid serviceUuid",
	"ArchiveEvent":          "archiveUuid ownerUuid status archiveUrl",
	"DatabaseEvent":         "type objectType objectValue",
}

func TestEncodeJSONKeys(t *testing.T) {
	t.Parallel()
	for name, want := range keys {
		r := userEvent(`{}`) // every field at its default
		r.Type = "opentera.protobuf." + name
		form := event.Plain
		if name == "DatabaseEvent" {
			r.Op, r.ObjectType, form = "C", "site", event.Create
		}
		e := decode(t, r)
		for encoding, header := range map[event.Encoding]string{
			event.JSON: "version time topic", event.JSONWithSeq: "version time topic seq",
		} {
			frame := parseJSON(t, encode(t, &e, form, encoding))
			wantKeys(t, frame, "message")
			message := frame["message"].(map[string]any)
			wantKeys(t, message, "@type header events")
			wantKeys(t, message["header"].(map[string]any), header)
			events := message["events"].([]any)
			if len(events) != 1 {
				t.Fatalf("%s: %d events, want 1", name, len(events))
			}
			inner := events[0].(map[string]any)
			wantKeys(t, inner, "@type "+want)
			if inner["@type"] != "type.googleapis.com/opentera.protobuf."+name {
				t.Errorf("@type %v, want that of %s", inner["@type"], name)
			}
			for key, value := range inner {
				if value == nil {
					t.Errorf("%s: %s is null", name, key)
				}
			}
		}
	}
}

func wantKeys(t *testing.T, object map[string]any, want string) {
	t.Helper()
	got, list := slices.Sorted(maps.Keys(object)), strings.Fields(want)
	slices.Sort(list)
	if !slices.Equal(got, list) {
		t.Errorf("keys %q, want %q", got, list)
	}
}

func TestEncodeParsesBack(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"emoji":              "👩‍⚕️ é ü \u2028 \ufffd",
		"quotes":             `"\'` + "`</script>&\t\n",
		"control":            "\x00\x01\x1f\x7f",
		"10 kB name":         strings.Repeat("né ", 2500),
		"1 MB":               strings.Repeat(`"quoted" `, 1<<20/9),
		"empty":              "",
		"looks like JSON":    `{"@type": "type.googleapis.com/x"}]}}`,
		"looks like a frame": sample,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			value, err := json.Marshal(map[string]string{"site_name": text})
			if err != nil {
				t.Fatal(err)
			}
			r := participantUpdate()
			r.ObjectType, r.Body, r.Topic = "site", string(value), text
			e := decode(t, r)
			wantParsesBack(t, &e, event.Update, &opentera.DatabaseEvent{
				Type: opentera.DatabaseEvent_DB_UPDATE, ObjectType: "site", ObjectValue: r.Body})

			body, err := protojson.Marshal(&opentera.UserEvent{UserFullname: text})
			if err != nil {
				t.Fatal(err)
			}
			e = decode(t, userEvent(string(body)))
			wantParsesBack(t, &e, event.Plain, &opentera.UserEvent{UserFullname: text})
		})
	}
}

func TestEncodeMessageWithoutFields(t *testing.T) {
	t.Parallel()
	e := event.New(1, time.Time{}, "", &opentera.Value{})
	wantParsesBack(t, &e, event.Plain, e.Message)
}

func TestEncodeTimes(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{
		{}, time.Unix(0, 0), time.Unix(-1, 5000), time.Unix(1<<40, 999_999_000), time.Unix(1732325000, 1000),
	} {
		e := sampleEvent()
		e.At = at
		wantParsesBack(t, &e, event.Plain, e.Message)
	}
}

func TestEncodeProtobufIsDeterministic(t *testing.T) {
	t.Parallel()
	a, b := sampleEvent(), sampleEvent()
	if !bytes.Equal(encode(t, &a, event.Plain, event.Protobuf), encode(t, &b, event.Plain, event.Protobuf)) {
		t.Error("equal events, different frames")
	}
}

func TestEncodeErrors(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*event.Event){
		"nil message":       func(e *event.Event) { e.Message = nil },
		"nil pointer":       func(e *event.Event) { e.Message = (*opentera.UserEvent)(nil) },
		"topic not UTF-8":   func(e *event.Event) { e.Topic = "\xff" },
		"message not UTF-8": func(e *event.Event) { e.Message = &opentera.UserEvent{UserFullname: "Zq8\xff"} },
	} {
		for encoding, code := range encodings {
			e := sampleEvent()
			e.Seq = 9
			change(&e)
			frame, err := e.Encode(event.Plain, code)
			if err == nil || !strings.HasPrefix(err.Error(), "encode event 9: ") || frame != nil {
				t.Errorf("%s, %s: %d bytes, error %v", name, encoding, len(frame), err)
			} else if strings.Contains(err.Error(), "Zq8") {
				t.Errorf("%s, %s: the error holds a part of the message: %v", name, encoding, err)
			}
		}
	}

	e := sampleEvent()
	e.Seq = 9
	if _, err := e.Encode(event.Plain, 3); err == nil || err.Error() != "encode event 9: unknown encoding 3" {
		t.Errorf("unknown encoding: %v", err)
	}
	e.Message = structpb.NewStringValue("a")
	for _, encoding := range []event.Encoding{event.JSON, event.JSONWithSeq} {
		if _, err := e.Encode(event.Plain, encoding); err == nil || err.Error() != "encode event 9: google.protobuf.Value has a ProtoJSON of its own" {
			t.Errorf("well-known type: %v", err)
		}
	}
}
