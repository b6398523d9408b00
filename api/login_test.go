package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"terasocket/access"
)

type credentials func(username, password string) (access.Login, error)

func (f credentials) User(_ context.Context, username, password string) (access.Login, error) {
	return f(username, password)
}

type minter func(kind access.Kind, uuid string) (string, error)

func (f minter) Create(_ context.Context, kind access.Kind, uuid string) (string, error) {
	return f(kind, uuid)
}

func TestUserLogin(t *testing.T) {
	t.Parallel()
	ada := access.Login{Identity: access.Identity{Principal: access.Principal{Kind: access.User, ID: 7}, UUID: "uuid-7", Name: "Ada L."}}
	forced, second := ada, ada
	forced.MustChangePassword, second.Needs2FA = true, true
	type answers struct {
		login    access.Login
		loginErr error
		token    string
		tokenErr error
	}
	for name, test := range map[string]struct {
		query   string
		noBasic bool
		answers answers
		status  int
		body    string // JSON, or plain text
	}{
		"no credentials":           {"", true, answers{}, 401, "Unauthorized"},
		"refused":                  {"", false, answers{loginErr: access.ErrUnauthorized}, 401, "Unauthorized"},
		"busy":                     {"", false, answers{loginErr: access.ErrBusy}, 503, `"Service unavailable, please try again."`},
		"no database":              {"", false, answers{loginErr: errors.New("down")}, 503, `"Service unavailable, please try again."`},
		"bad boolean":              {"?with_websocket=2", false, answers{login: ada}, 400, `{"errors": {"with_websocket": "must be true or false"}, "message": "Input payload validation failed"}`},
		"without websocket":        {"", false, answers{login: ada}, 200, `{"user_uuid": "uuid-7", "user_fullname": "Ada L."}`},
		"said no":                  {"?with_websocket=False", false, answers{login: ada}, 200, `{"user_uuid": "uuid-7", "user_fullname": "Ada L."}`},
		"with websocket":           {"?with_websocket=1", false, answers{login: ada, token: "a-b_c"}, 200, `{"user_uuid": "uuid-7", "user_fullname": "Ada L.", "websocket_url": "ws://h:1/wss/user?id=a-b_c"}`},
		"a plural of some clients": {"?with_websockets=true", false, answers{login: ada, token: "x"}, 200, `{"user_uuid": "uuid-7", "user_fullname": "Ada L.", "websocket_url": "ws://h:1/wss/user?id=x"}`},
		"disabled meanwhile":       {"?with_websocket=true", false, answers{login: ada, tokenErr: access.ErrUnknown}, 401, "Unauthorized"},
		"database lost meanwhile":  {"?with_websocket=true", false, answers{login: ada, tokenErr: errors.New("down")}, 503, `"Service unavailable, please try again."`},
		"must change its password": {"?with_websocket=true", false, answers{login: forced, token: "x"}, 200, `{"message": "Password change required for this user.", "reason": "password_change", "redirect_url": "/login_change_password"}`},
		"needs a second factor":    {"?with_websocket=true", false, answers{login: second, token: "x"}, 200, `{"message": "2FA required for this user.", "reason": "2fa", "redirect_url": "/login_validate_2fa"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log strings.Builder
			proxies, err := ParseProxies(nil)
			if err != nil {
				t.Fatal(err)
			}
			router := chi.NewRouter()
			(&API{
				Credentials: credentials(func(username, password string) (access.Login, error) {
					if username != "ada" || password != "pässword:with:colons" {
						t.Errorf("asked for %q %q", username, password)
					}
					return test.answers.login, test.answers.loginErr
				}),
				Minter: minter(func(kind access.Kind, uuid string) (string, error) {
					if kind != access.User || uuid != "uuid-7" {
						t.Errorf("minted for %s %s", kind, uuid)
					}
					return test.answers.token, test.answers.tokenErr
				}),
				Proxies: proxies,
				Log:     slog.New(slog.NewTextHandler(&log, nil)),
			}).Routes(router)
			r := httptest.NewRequest(http.MethodGet, "http://h:1/api/user/login"+test.query, nil)
			if !test.noBasic {
				r.SetBasicAuth("ada", "pässword:with:colons")
			}
			w := httptest.NewRecorder()
			router.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("%d, want %d", w.Code, test.status)
			}
			if w.Header().Get("WWW-Authenticate") != "" || w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", w.Header())
			}
			if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
			}
			if !sameJSON(t, w.Body.String(), test.body) {
				t.Errorf("%s, want %s", w.Body, test.body)
			}
			if strings.Contains(log.String(), "pässword") || strings.Contains(log.String(), "a-b_c") {
				t.Errorf("a secret in the log: %s", &log)
			}
		})
	}
}

// sameJSON compares parsed values, or texts where they are no JSON.
func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return a == b
	}
	xs, _ := json.Marshal(x)
	ys, _ := json.Marshal(y)
	return string(xs) == string(ys)
}

func FuzzBoolean(f *testing.F) {
	f.Add("with_websocket=true")
	f.Add("with_websocket=%zz&with_websockets=1")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		if value, ok := boolean(r, "with_websocket", "with_websockets"); value && !ok {
			t.Error("true and not ok")
		}
	})
}
