package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"terasocket/access"
)

// deviceDoor knows one token of each kind.
type deviceDoor struct{}

func (deviceDoor) Device(_ context.Context, token string) (access.Identity, error) {
	switch token {
	case "good":
		return access.Identity{Principal: access.Principal{Kind: access.Device, ID: 3}, UUID: "uuid-3", Name: "d"}, nil
	case "disabled":
		return access.Identity{}, access.ErrDisabled
	case "down":
		return access.Identity{}, errors.New("connection refused")
	}
	return access.Identity{}, access.ErrUnauthorized
}

func (d deviceDoor) ByUUID(ctx context.Context, uuid string) (access.Identity, error) {
	return d.Device(ctx, uuid)
}

type statusKeeper struct {
	kept      string
	isOffline bool
	err       error
}

func (k *statusKeeper) SetStatus(_ context.Context, id int32, status string, at float64) (bool, error) {
	k.kept = fmt.Sprint(id, " ", status, " ", at)
	return !k.isOffline, k.err
}

func TestDeviceStatus(t *testing.T) {
	t.Parallel()
	const body, missing = `{"status": {"b": 1, "a": [ "é" ]}, "timestamp": 1732345678.5}`, `"Missing arguments"`
	const answer, kept = `{"uuid":"uuid-3","status":"{\"b\":1,\"a\":[\"é\"]}","timestamp":1732345678.5}`, `3 {"b":1,"a":["é"]} 1.7323456785e+09`
	for name, test := range map[string]struct {
		auth, query, body string
		keeper            statusKeeper
		status            int
		answer            string
		kept              string
	}{
		"online":                 {"OpenTera good", "", body, statusKeeper{}, 200, answer, kept},
		"token in the query":     {"", "?token=good", body, statusKeeper{}, 200, answer, kept},
		"another scheme":         {"Basic x", "?token=good", body, statusKeeper{}, 200, answer, kept},
		"the query, then":        {"OpenTera bad", "?token=good", body, statusKeeper{}, 200, answer, kept},
		"the header counts":      {"OpenTera good", "?token=bad", body, statusKeeper{}, 200, answer, kept},
		"no token":               {"", "", body, statusKeeper{}, 401, `"Unauthorized"`, ""},
		"bad token":              {"OpenTera bad", "", body, statusKeeper{}, 401, `"Unauthorized"`, ""},
		"lower case":             {"opentera good", "", body, statusKeeper{}, 401, `"Unauthorized"`, ""},
		"a user":                 {"basic:good", "", body, statusKeeper{}, 401, `"Unauthorized"`, ""},
		"no blank":               {"OpenTera", "?token=good", body, statusKeeper{}, 401, `"Invalid token"`, ""},
		"token without scheme":   {"good", "", body, statusKeeper{}, 401, `"Invalid token"`, ""},
		"disabled":               {"OpenTera disabled", "?token=good", body, statusKeeper{}, 401, `"Disabled device"`, ""},
		"disabled, in the query": {"", "?token=disabled", body, statusKeeper{}, 401, `"Unauthorized"`, ""},
		"no database":            {"OpenTera down", "", body, statusKeeper{}, 503, unavailableBody, ""},
		"offline":                {"OpenTera good", "", body, statusKeeper{isOffline: true}, 403, `"Status update forbidden on offline device."`, kept},
		"database lost":          {"OpenTera good", "", body, statusKeeper{err: errors.New("down")}, 503, unavailableBody, kept},
		"no timestamp":           {"OpenTera good", "", `{"status": {}}`, statusKeeper{}, 400, missing, ""},
		"no status":              {"OpenTera good", "", `{"timestamp": 1}`, statusKeeper{}, 400, missing, ""},
		"other case":             {"OpenTera good", "", `{"Status": {}, "timestamp": 1}`, statusKeeper{}, 400, missing, ""},
		"timestamp of letters":   {"OpenTera good", "", `{"status": {}, "timestamp": "1"}`, statusKeeper{}, 400, missing, ""},
		"timestamp null":         {"OpenTera good", "", `{"status": {}, "timestamp": null}`, statusKeeper{}, 400, missing, ""},
		"timestamp too large":    {"OpenTera good", "", `{"status": {}, "timestamp": 1e999}`, statusKeeper{}, 400, missing, ""},
		"empty":                  {"OpenTera good", "", ``, statusKeeper{}, 400, missing, ""},
		"null":                   {"OpenTera good", "", `null`, statusKeeper{}, 400, missing, ""},
		"a list":                 {"OpenTera good", "", `[]`, statusKeeper{}, 400, missing, ""},
		"cut":                    {"OpenTera good", "", body[:20], statusKeeper{}, 400, missing, ""},
		"not UTF-8":              {"OpenTera good", "", "{\"status\": \"\xff\", \"timestamp\": 1}", statusKeeper{}, 400, missing, ""},
		"too big":                {"OpenTera good", "", `{"status": "` + strings.Repeat("x", 64<<10) + `", "timestamp": 1}`, statusKeeper{}, 413, `"The body is over 64 KiB."`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			keeper := test.keeper
			w := ask(t, &API{Devices: deviceDoor{}, DeviceStatus: &keeper, Log: slog.New(slog.NewTextHandler(&log, nil))},
				http.MethodPost, "/api/device/status"+test.query, test.auth, test.body)
			mustAnswer(t, w, test.status, test.answer)
			if keeper.kept != test.kept {
				t.Errorf("kept %s, want %s", keeper.kept, test.kept)
			}
			if w.Header().Get("Content-Type") != "application/json" || strings.Contains(log.String(), "good") {
				t.Errorf("%v %s", w.Header(), &log)
			}
		})
	}
}

func FuzzStatus(f *testing.F) {
	f.Add([]byte(`{"status": {"a": "\u0000"}, "timestamp": -1.5e3}`))
	f.Add([]byte(`{"status":null,"timestamp":0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		status, ok := parseStatus(body)
		if !ok {
			return
		}
		if _, err := json.Marshal(status); err != nil || !json.Valid([]byte(status.Text)) || !utf8.ValidString(status.Text) || strings.Contains(status.Text, "\x00") {
			t.Errorf("%q: %+v, %v", body, status, err)
		}
	})
}
