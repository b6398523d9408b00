package api

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/access"
	"terasocket/proto/opentera"
)

type serviceDoor func(token string) (access.Service, error)

func (f serviceDoor) Service(_ context.Context, token string) (access.Service, error) {
	return f(token)
}

type publisher func(events []access.Publication) error

func (f publisher) Publish(_ context.Context, events []access.Publication) error {
	return f(events)
}

const eventsTopic = "websocket.user.0badcafe-0000-4000-8000-00000000000a.events"

// teraEvent returns an event with these messages.
func teraEvent(t testing.TB, topic string, messages ...proto.Message) *opentera.TeraEvent {
	t.Helper()
	e := &opentera.TeraEvent{Header: &opentera.TeraEvent_Header{Version: 1, Time: 1.5, Topic: topic}}
	for _, m := range messages {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		e.Events = append(e.Events, a)
	}
	return e
}

func serialized(t testing.TB, m proto.Message) string {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPublishEvents(t *testing.T) {
	t.Parallel()
	stop, user := &opentera.StopSessionEvent{SessionUuid: "s"}, &opentera.UserEvent{UserUuid: "u", UserFullname: "secret name"}
	two := teraEvent(t, eventsTopic, stop, user)
	binary := serialized(t, two)
	text, err := protojson.Marshal(two)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]proto.Message, 1001)
	for i := range many {
		many[i] = stop
	}
	anyOf := func(url string) string {
		return serialized(t, &opentera.TeraEvent{Header: two.Header, Events: []*anypb.Any{two.Events[0], {TypeUrl: url}}})
	}
	head := `"header": {"version": 1, "time": 1.5, "topic": "` + eventsTopic + `"}`
	const pb, js = "application/x-protobuf", "application/json"
	for name, test := range map[string]struct {
		header, query, contentType, body string
		err                              error
		status                           int
		answer                           string
	}{
		"protobuf":            {"OpenTera good", "", pb, binary, nil, 200, `{"events": 2}`},
		"json":                {"OpenTera good", "", js, string(text), nil, 200, `{"events": 2}`},
		"json of a charset":   {"OpenTera good", "", js + "; charset=utf-8", string(text), nil, 200, `{"events": 2}`},
		"token in the query":  {"", "?token=good", pb, binary, nil, 200, `{"events": 2}`},
		"another scheme":      {"Basic abc", "?token=good", pb, binary, nil, 200, `{"events": 2}`},
		"the header counts":   {"OpenTera bad", "?token=good", pb, binary, nil, 401, `"Unauthorized"`},
		"no token":            {"", "", pb, binary, nil, 401, `"Unauthorized"`},
		"bad token":           {"OpenTera bad", "", pb, binary, nil, 401, `"Unauthorized"`},
		"no blank":            {"OpenTera", "?token=good", pb, binary, nil, 401, `"Invalid Token"`},
		"token without":       {"good", "", pb, binary, nil, 401, `"Invalid Token"`},
		"no database":         {"OpenTera down", "", pb, binary, nil, 503, `"Service unavailable, please try again."`},
		"database lost":       {"OpenTera good", "", pb, binary, errors.New("down"), 503, `"Service unavailable, please try again."`},
		"refused":             {"OpenTera good", "", pb, binary, &access.PublishError{Index: 1, Problem: "event has no sessionUuid"}, 400, `{"message": "event has no sessionUuid", "index": 1}`},
		"the first refused":   {"OpenTera good", "", pb, binary, &access.PublishError{Problem: "topic"}, 400, `{"message": "topic", "index": 0}`},
		"an event too big":    {"OpenTera good", "", pb, binary, &access.PublishError{Problem: "event is of", IsTooBig: true}, 413, `{"message": "event is of", "index": 0}`},
		"no type":             {"OpenTera good", "", "", binary, nil, 415, `{"message": "Content-Type must be application/x-protobuf or application/json"}`},
		"form":                {"OpenTera good", "", "application/x-www-form-urlencoded", binary, nil, 415, `{"message": "Content-Type must be application/x-protobuf or application/json"}`},
		"malformed type":      {"OpenTera good", "", "/;", binary, nil, 415, `{"message": "Content-Type must be application/x-protobuf or application/json"}`},
		"body too big":        {"OpenTera good", "", pb, strings.Repeat("x", 16<<20+1), nil, 413, `{"message": "the body is over 16 MiB"}`},
		"empty":               {"OpenTera good", "", pb, "", nil, 400, `{"message": "header has no topic"}`},
		"cut":                 {"OpenTera good", "", pb, binary[:len(binary)-3], nil, 400, `{"message": "the body is no serialized TeraEvent"}`},
		"JSON as protobuf":    {"OpenTera good", "", pb, string(text), nil, 400, `{"message": "the body is no serialized TeraEvent"}`},
		"no topic":            {"OpenTera good", "", pb, serialized(t, teraEvent(t, "", stop)), nil, 400, `{"message": "header has no topic"}`},
		"no event":            {"OpenTera good", "", pb, serialized(t, teraEvent(t, "x")), nil, 400, `{"message": "events must be 1 to 1000"}`},
		"too many":            {"OpenTera good", "", pb, serialized(t, teraEvent(t, "x", many...)), nil, 400, `{"message": "events must be 1 to 1000"}`},
		"no type URL":         {"OpenTera good", "", pb, anyOf(""), nil, 400, `{"message": "event has no type that begins with type.googleapis.com/", "index": 1}`},
		"type without prefix": {"OpenTera good", "", pb, anyOf("opentera.protobuf.UserEvent"), nil, 400, `{"message": "event has no type that begins with type.googleapis.com/", "index": 1}`},
		"json: empty":         {"OpenTera good", "", js, "", nil, 400, `{"message": "the body is not the JSON of a TeraEvent, an object with header and events"}`},
		"json: null":          {"OpenTera good", "", js, "null", nil, 400, `{"message": "events must be 1 to 1000"}`},
		"json: a list":        {"OpenTera good", "", js, "[]", nil, 400, `{"message": "the body is not the JSON of a TeraEvent, an object with header and events"}`},
		"json: more":          {"OpenTera good", "", js, string(text) + "{}", nil, 400, `{"message": "something follows the TeraEvent"}`},
		"json: unknown key":   {"OpenTera good", "", js, `{"x": 1, ` + head + `}`, nil, 400, `{"message": "the body is not the JSON of a TeraEvent, an object with header and events"}`},
		"json: header":        {"OpenTera good", "", js, `{"header": {"x": 1}, "events": [{}]}`, nil, 400, `{"message": "header is not the JSON of a TeraEvent's"}`},
		"json: no header":     {"OpenTera good", "", js, `{"events": [{"@type": "type.googleapis.com/opentera.protobuf.UserEvent"}]}`, nil, 400, `{"message": "header has no topic"}`},
		"json: no @type":      {"OpenTera good", "", js, `{` + head + `, "events": [{}]}`, nil, 400, `{"message": "event has no type that begins with type.googleapis.com/", "index": 0}`},
		"json: unknown type":  {"OpenTera good", "", js, `{` + head + `, "events": [{"@type": "type.googleapis.com/x"}]}`, nil, 400, `{"message": "event is not the JSON of a message of OpenTera with its \"@type\"", "index": 0}`},
		"json: unknown field": {"OpenTera good", "", js, `{` + head + `, "events": [{"@type": "type.googleapis.com/opentera.protobuf.UserEvent"}, {"@type": "type.googleapis.com/opentera.protobuf.UserEvent", "x": "secret"}]}`, nil, 400, `{"message": "event is not the JSON of a message of OpenTera with its \"@type\"", "index": 1}`},
		"json: too many":      {"OpenTera good", "", js, `{` + head + `, "events": [{}` + strings.Repeat(",{}", 1000) + `]}`, nil, 400, `{"message": "events must be 1 to 1000"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			calls := 0
			a := &API{Services: services, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
				Publisher: publisher(func(events []access.Publication) error {
					calls++
					sent := teraEvent(t, eventsTopic, stop, user).GetEvents()
					for i, e := range events {
						if len(events) != len(sent) || e.Topic != eventsTopic || !proto.Equal(e.Event, sent[i]) {
							t.Errorf("published %v, want %v", events, sent)
						}
					}
					return test.err
				})}
			w := ask(t, a, http.MethodPost, "/api/service/events"+test.query, test.header, test.body, header("Content-Type", test.contentType))
			if w.Code != test.status || !sameJSON(t, w.Body.String(), test.answer) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, test.status, test.answer)
			}
			if isAsked := test.status == 200 || test.err != nil; isAsked != (calls == 1) {
				t.Errorf("published %d times", calls)
			}
			if said := log.String() + w.Body.String(); strings.Contains(said, "secret") || strings.Contains(log.String(), "good") {
				t.Errorf("leaks a secret: %s", said)
			}
		})
	}
}

// 16 MiB of empty events are refused before they take hundreds of MB.
func TestMillionsOfEvents(t *testing.T) {
	const n = 1 << 20
	for contentType, body := range map[string]string{
		"application/x-protobuf": "\x0a\x03\x1a\x01x" + strings.Repeat("\x12\x00", n),
		"application/json":       `{"header": {"topic": "x"}, "events": [{}` + strings.Repeat(",{}", n) + `]}`,
	} {
		if allocs := testing.AllocsPerRun(1, func() {
			if _, err := parsers[contentType]([]byte(body)); err == nil || err.Error() != "events must be 1 to 1000" {
				t.Error(contentType, err)
			}
		}); allocs > 10*access.MaxEvents {
			t.Errorf("%s: %.0f allocations", contentType, allocs)
		}
	}
}

// The two parsers accept what a TeraEvent can hold; they never panic, and report which event is wrong.
func FuzzEventsBody(f *testing.F) {
	two := teraEvent(f, eventsTopic, &opentera.StopSessionEvent{SessionUuid: "s"}, &opentera.ArchiveEvent{OwnerUuid: "o", Status: 2})
	text, err := protojson.Marshal(two)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(serialized(f, two)))
	f.Add(text)
	f.Add([]byte(`{"header":{"topic":"t"},"events":[{"@type":"type.googleapis.com/opentera.protobuf.UserEvent","type":9}]}`))
	f.Add([]byte(`{"HEADER":{"topic":"\u0000"},"events":[null]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for contentType, parse := range parsers {
			events, err := parse(bytes.Clone(body))
			var wrong *bodyError
			switch {
			case err != nil && (!errors.As(err, &wrong) || wrong.problem == "" || wrong.index < -1 || wrong.index >= access.MaxEvents):
				t.Errorf("%s: %v", contentType, err)
			case err != nil:
				continue
			case len(events) < 1 || len(events) > access.MaxEvents:
				t.Errorf("%s: %d events", contentType, len(events))
			}
			for _, e := range events {
				if e.Topic == "" || e.Event.GetTypeUrl() == "" || contentType == "application/json" && !bytes.Contains(bytes.ToLower(body), []byte("@type")) && !bytes.Contains(body, []byte(`\u`)) {
					t.Error(contentType, e.Topic, e.Event)
				}
			}
		}
	})
}
