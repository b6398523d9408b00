package access_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"terasocket/access"
	"terasocket/db/dbtest"
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
	services := &access.Services{Pool: dbtest.Pool(t, f.conn.Config().ConnString())}
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
	// a service that is disabled, and a key that is replaced, count at once
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

func TestPublisher(t *testing.T) {
	t.Parallel()
	f := setup(t, demo())
	publisher := &access.Publisher{Pool: dbtest.Pool(t, f.conn.Config().ConnString())}
	const topic = "module.TeraServer.UserManagerModule.events"
	stop := access.Publication{Topic: topic, Type: "opentera.protobuf.StopSessionEvent", Event: []byte("\x0a\x2400000000-0000-4000-8000-000000000001")}
	many := make([]access.Publication, 1000)
	for i := range many {
		many[i] = stop
	}
	seqs, err := publisher.Publish(t.Context(), many)
	if err != nil || len(seqs) != 1000 {
		t.Fatalf("%d seqs, %v", len(seqs), err)
	}
	if n := one[int](f, "SELECT count(DISTINCT xid) FROM terasocket.events"); n != 1 {
		t.Errorf("published in %d transactions", n)
	}
	if last := one[uint64](f, "SELECT max(seq)::bigint FROM terasocket.events"); seqs[0]+999 != seqs[999] || seqs[999] != last {
		t.Errorf("seqs from %d to %d, the last is %d", seqs[0], seqs[999], last)
	}
	for name, test := range map[string]struct {
		bad     access.Publication
		problem string
		big     bool
	}{
		"no UUID":       {access.Publication{Topic: topic, Type: stop.Type}, "event has no sessionUuid", false},
		"unknown type":  {access.Publication{Topic: topic, Type: "x"}, "type 'x' is not of a message that clients hear", false},
		"topic":         {access.Publication{Topic: "x", Type: stop.Type, Event: stop.Event}, "topic 'x' is heard by no client", false},
		"no topic":      {access.Publication{Type: stop.Type, Event: stop.Event}, "topic or type is empty", false},
		"zero byte":     {access.Publication{Topic: "x\x00", Type: stop.Type, Event: stop.Event}, "topic or type is empty", false},
		"not UTF-8":     {access.Publication{Topic: topic, Type: "\xff", Event: stop.Event}, "topic or type is empty", false},
		"too big":       {access.Publication{Topic: topic, Type: stop.Type, Event: make([]byte, 300_000)}, "event is of 300000 bytes, more than 262144", true},
		"bytes of zero": {access.Publication{Topic: topic, Type: stop.Type, Event: make([]byte, 3)}, "event is not a opentera.protobuf.StopSessionEvent", false},
	} {
		var refused *access.PublishError
		_, err := publisher.Publish(t.Context(), []access.Publication{stop, stop, test.bad, stop})
		if !errors.As(err, &refused) || refused.Index != 2 || !strings.HasPrefix(refused.Problem, test.problem) || refused.IsTooBig != test.big {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := one[int](f, "SELECT count(*) FROM terasocket.events"); n != 1000 {
		t.Errorf("%d events of refused calls are in the log", n-1000)
	}
	// to the user manager, about nobody
	leave := access.Publication{Topic: "module.TeraServer.UserManagerModule.messages", Type: "opentera.protobuf.LeaveSessionEvent", Event: stop.Event}
	if seqs, err := publisher.Publish(t.Context(), []access.Publication{leave}); err != nil || len(seqs) != 1 || seqs[0] != 0 {
		t.Errorf("%v, %v", seqs, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var refused *access.PublishError
	if _, err := publisher.Publish(ended, many); err == nil || errors.As(err, &refused) {
		t.Errorf("no answer of the database: %v", err)
	}
}
