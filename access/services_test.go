package access_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"terasocket/access"
	protocol "terasocket/proto/opentera"
)

func signed(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestServiceTokens(t *testing.T) {
	t.Parallel()
	f := inWorld(t)
	f.do(update("t_services", 6, "service_enabled = false"), row("t_services", 7, "deleted_at=now()"))
	services := &access.Services{Pool: f.pool}
	key := []byte(one[string](f, "SELECT terasocket.service_token_key()"))
	hour := time.Now().Add(time.Hour).Unix()
	good := jwt.MapClaims{"service_uuid": uuid5}
	for name, token := range map[string]string{
		"plain":       signed(t, jwt.SigningMethodHS256, key, good),
		"exp":         signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "exp": hour}),
		"more claims": signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "x": []int{1}, "iss": "TeraServer", "jti": "1"}),
	} {
		s, err := services.Service(t.Context(), token)
		if err != nil || s != (access.Service{ID: 5, UUID: uuid5, Key: "Service5"}) || s.String() != "service:5" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	token := signed(t, jwt.SigningMethodHS256, key, good)
	parts := strings.Split(token, ".")
	for name, token := range map[string]string{
		"empty":            "",
		"no token":         "abc",
		"two parts":        parts[0] + "." + parts[1],
		"no signature":     parts[0] + "." + parts[1] + ".",
		"cut":              token[:len(token)-2],
		"other key":        signed(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 32)), good),
		"empty key":        signed(t, jwt.SigningMethodHS256, []byte{}, good),
		"none":             signed(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good),
		"HS512":            signed(t, jwt.SigningMethodHS512, key, good),
		"expired":          signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "exp": time.Now().Add(-time.Minute).Unix()}),
		"not yet":          signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "nbf": hour}),
		"exp of letters":   signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "exp": "never"}),
		"no claim":         signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{}),
		"claim of numbers": signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": 5}),
		"user's claim":     signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"user_uuid": userUUID(1)}),
		"unknown":          signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": "5e000000-9"}),
		"a user":           signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": userUUID(1)}),
		"disabled":         signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid6}),
		"deleted":          signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": "5e000000-7"}),
		"zero byte":        signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5 + "\x00"}),
		"long":             signed(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"service_uuid": uuid5, "x": strings.Repeat("x", 5000)}),
	} {
		if s, err := services.Service(t.Context(), token); !errors.Is(err, access.ErrUnauthorized) || s != (access.Service{}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	// a disabled service and a replaced key count at once
	f.do(update("t_services", 5, "service_enabled = false"))
	if _, err := services.Service(t.Context(), token); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("disabled since: %v", err)
	}
	f.do(update("t_services", 5, "service_enabled = true"), "DELETE FROM terasocket.signing_keys")
	if _, err := services.Service(t.Context(), token); !errors.Is(err, access.ErrUnauthorized) {
		t.Errorf("signed with the old key: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := services.Service(ended, token); err == nil || errors.Is(err, access.ErrUnauthorized) || strings.Contains(err.Error(), string(key)) {
		t.Errorf("no answer of the database: %v", err)
	}
}

// inAny packs a message as services send it.
func inAny(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPublisher(t *testing.T) {
	t.Parallel()
	f := setup(t, demo())
	publisher := &access.Publisher{Pool: f.pool}
	const topic, typeURL = "module.TeraServer.UserManagerModule.events", "type.googleapis.com/opentera.protobuf.StopSessionEvent"
	session := func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }
	stop := func(uuid string) access.Publication {
		return access.Publication{Topic: topic, Event: inAny(t, &protocol.StopSessionEvent{SessionUuid: uuid})}
	}
	raw := func(value string) access.Publication {
		return access.Publication{Topic: topic, Event: &anypb.Any{TypeUrl: typeURL, Value: []byte(value)}}
	}
	many := make([]access.Publication, 1000)
	for i := range many {
		many[i] = stop(session(i))
	}
	if err := publisher.Publish(t.Context(), many); err != nil {
		t.Fatal(err)
	}
	if n := one[int](f, "SELECT count(DISTINCT xid) FROM terasocket.changes"); n != 1 {
		t.Errorf("published in %d transactions", n)
	}
	f.announce()
	got := one[[]string](f, "SELECT array_agg(body ->> 'sessionUuid' ORDER BY seq) FROM terasocket.events")
	for i := range many {
		if len(got) != len(many) || got[i] != session(i) {
			t.Fatalf("%d announced, the one at %d is wrong", len(got), i)
		}
	}
	good := stop(session(1))
	for name, test := range map[string]struct {
		bad     access.Publication
		problem string
		big     bool
	}{
		"no UUID":       {stop(""), "event has no sessionUuid", false},
		"no event":      {access.Publication{Topic: topic}, `event is not a serialized "" of OpenTera's`, false},
		"unknown type":  {access.Publication{Topic: topic, Event: &anypb.Any{TypeUrl: "type.googleapis.com/x"}}, `event is not a serialized "type.googleapis.com/x"`, false},
		"not heard":     {access.Publication{Topic: topic, Event: inAny(t, &protocol.RPCMessage{})}, "type 'opentera.protobuf.RPCMessage' is not of a message that clients hear", false},
		"topic":         {access.Publication{Topic: "x", Event: good.Event}, "topic 'x' is heard by no client", false},
		"no topic":      {access.Publication{Event: good.Event}, "topic is empty", false},
		"zero byte":     {access.Publication{Topic: "x\x00", Event: good.Event}, "topic is empty", false},
		"not UTF-8":     {access.Publication{Topic: "\xff", Event: good.Event}, "topic is empty", false},
		"too big":       {stop(strings.Repeat("x", 300_000)), "event is of 300", true},
		"bytes of zero": {raw("\x00\x00\x00"), "event is not a serialized", false},
		"zero in it":    {stop(session(1) + "\x00"), "event has a zero byte in it", false},
		"no UTF-8 here": {raw("\x0a\x01\xff"), "event is not a serialized", false},
		"unknown field": {raw(string(good.Event.Value) + "\x18\x01"), "event has a field that opentera.protobuf.StopSessionEvent has not", false},
	} {
		var refused *access.PublishError
		err := publisher.Publish(t.Context(), []access.Publication{good, good, test.bad, good})
		if !errors.As(err, &refused) || refused.Index != 2 || !strings.HasPrefix(refused.Problem, test.problem) || refused.IsTooBig != test.big {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := announce(t, f.pool); n != 0 {
		t.Errorf("%d events of refused calls are in the log", n)
	}
	// a message to the user manager without people
	leave := access.Publication{Topic: "module.TeraServer.UserManagerModule.messages", Event: inAny(t, &protocol.LeaveSessionEvent{SessionUuid: session(1)})}
	if err := publisher.Publish(t.Context(), []access.Publication{leave}); err != nil {
		t.Error(err)
	}
	if n := announce(t, f.pool); n != 0 {
		t.Errorf("%d events about nobody", n)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var refused *access.PublishError
	if err := publisher.Publish(ended, many); err == nil || errors.As(err, &refused) {
		t.Errorf("no answer of the database: %v", err)
	}
}
