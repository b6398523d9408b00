package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"terasocket/access"
)

// disconnector records its calls.
type disconnector struct {
	calls []string
	err   error
}

func (d *disconnector) ForUser(_ context.Context, id int32, target access.Target) error {
	d.calls = append(d.calls, fmt.Sprintf("user %d: %s %d %s", id, target.Kind, target.ID, target.UUID))
	return d.err
}

func (d *disconnector) ForService(_ context.Context, id int32, target access.Target) error {
	d.calls = append(d.calls, fmt.Sprintf("service %d: %s %d %s", id, target.Kind, target.ID, target.UUID))
	return d.err
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	const success, forbidden, invalid = `"Success"`, `"Forbidden"`, `"Invalid request"`
	notANumber := func(name string) string {
		return `{"errors":{"` + name + `":"must be a whole number"},"message":"Input payload validation failed"}`
	}
	for _, test := range []struct {
		query  string
		err    error
		status int
		body   string
		asked  string
	}{
		{"id_user=9", nil, 200, success, "user 9 "},
		{"user_uuid=u", nil, 200, success, "user 0 u"},
		{"id_participant=9", nil, 200, success, "participant 9 "},
		{"participant_uuid=u", nil, 200, success, "participant 0 u"},
		{"id_device=9", nil, 200, success, "device 9 "},
		{"device_uuid=u", nil, 200, success, "device 0 u"},
		// the first non-empty argument
		{"device_uuid=f&id_device=5&participant_uuid=d&id_participant=3&user_uuid=b&id_user=1", nil, 200, success, "user 1 "},
		{"device_uuid=f&id_device=5&participant_uuid=d&id_participant=3&user_uuid=b", nil, 200, success, "user 0 b"},
		{"device_uuid=f&id_device=5&participant_uuid=d&id_participant=3", nil, 200, success, "participant 3 "},
		{"device_uuid=f&id_device=5&participant_uuid=d", nil, 200, success, "participant 0 d"},
		{"device_uuid=f&id_device=5", nil, 200, success, "device 5 "},
		{"id_user=0&user_uuid=&id_participant=&device_uuid=f", nil, 200, success, "device 0 f"},
		{"id_user=9&other=1&token=x", nil, 200, success, "user 9 "},
		{"id_user=-9", nil, 200, success, "user -9 "},
		{"id_user=99999999999999999999", access.ErrForbidden, 403, forbidden, "user 9223372036854775807 "},
		{"", nil, 400, invalid, ""},
		{"id_user=&id_device=0&device_uuid=", nil, 400, invalid, ""},
		{"uuid=u", nil, 400, invalid, ""},
		{"id_user=x", nil, 400, notANumber("id_user"), ""},
		{"id_user=1&id_device=1.5", nil, 400, notANumber("id_device"), ""},
		{"id_user=9", access.ErrForbidden, 403, forbidden, "user 9 "},
		{"id_user=9", errors.New("down"), 503, unavailableBody, "user 9 "},
		{"id_user=7", access.ErrSelf, 400, `"Use Logout instead to disconnect current user"`, "user 7 "},
	} {
		for _, caller := range []struct{ path, auth, name string }{{"user", "basic:good", "user 7"}, {"service", "OpenTera good", "service 4"}} {
			t.Run(caller.path+"?"+test.query, func(t *testing.T) {
				t.Parallel()
				var log strings.Builder
				d := &disconnector{err: test.err}
				a := &API{Users: people, Services: services, Disconnector: d, Log: slog.New(slog.NewTextHandler(&log, nil))}
				mustAnswer(t, ask(t, a, http.MethodGet, "/api/"+caller.path+"/disconnect?"+test.query, caller.auth, ""), test.status, test.body)
				var want []string
				if test.asked != "" {
					want = []string{caller.name + ": " + test.asked}
				}
				if !slices.Equal(d.calls, want) {
					t.Errorf("asked %q, want %q", d.calls, want)
				}
				if strings.Contains(log.String(), "good") {
					t.Errorf("a secret in the log: %s", &log)
				}
			})
		}
	}
}

var services = serviceDoor(func(token string) (access.Service, error) {
	switch token {
	case "good":
		return access.Service{ID: 4}, nil
	case "down":
		return access.Service{}, errors.New("connection refused")
	}
	return access.Service{}, access.ErrUnauthorized
})

func TestServiceDisconnectRefuses(t *testing.T) {
	t.Parallel()
	for auth, want := range map[string]struct {
		status int
		body   string
	}{
		"":              {401, `"Unauthorized"`},
		"OpenTera bad":  {401, `"Unauthorized"`},
		"basic:good":    {401, `"Unauthorized"`},
		"OpenTera":      {401, `"Invalid Token"`},
		"OpenTera down": {503, unavailableBody},
	} {
		d := &disconnector{}
		mustAnswer(t, ask(t, &API{Users: people, Services: services, Disconnector: d}, http.MethodGet, "/api/service/disconnect?id_user=9", auth, ""), want.status, want.body)
		if d.calls != nil {
			t.Errorf("%s: disconnected", auth)
		}
	}
}

func FuzzTarget(f *testing.F) {
	f.Add("id_user=0&user_uuid=&id_participant=5")
	f.Add("device_uuid=%00&id_device=+1")
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		target, wrong := parseTarget(query)
		isSet := target.ID != 0 || target.UUID != ""
		if isSet != (target.Kind != 0) || target.ID != 0 && target.UUID != "" || isSet && wrong != "" {
			t.Errorf("%q: %+v, %q", text, target, wrong)
		}
	})
}
