package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/redis/go-redis/v9"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// bridge.md 5 and 9: serve starts without Redis, and reports it in /readyz, and when it is back. Through our REST, one token is valid at
// both servers, a logout at either ends it at both, after a restart of OpenTera all old ones are refused, and with its Redis down the
// answer is 503. The address comes from a file.
func TestTokensOfOpenTera(t *testing.T) {
	t.Parallel()
	server := startRedis(t, "--requirepass", "pass")
	address := strings.Replace(server.URL(), "redis://", "redis://:pass@", 1)
	file := filepath.Join(t.TempDir(), "redis-url")
	if err := os.WriteFile(file, []byte(address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	key := "first" + strings.Repeat("k", 27)
	startOpenTera := func() {
		t.Helper()
		for _, name := range []string{"UserTokenAPIKey", "ParticipantTokenAPIKey", "ServiceTokenAPIKey"} {
			if err := client.Set(t.Context(), name, key, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	server.Kill()
	gateway := servePlain(t, gatewaytest.Config{Database: dbtest.New(t, migrated()), Env: []string{"TERASOCKET_REDIS_URL_FILE=" + file}})
	gateway.waitReady(http.StatusOK, "ready\ndegraded: OpenTera's Redis: ")
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "Redis is back", func() bool { _, body := gateway.Ask(t.Context(), "/readyz"); return body == "ready\n" })
	startOpenTera()

	signed := func(claims jwt.MapClaims) string {
		claims["iat"], claims["exp"], claims["iss"] = time.Now().Unix(), time.Now().Add(time.Hour).Unix(), "TeraServer"
		return must(jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(key)))
	}
	ofOpenTera := func(name string) string {
		return signed(jwt.MapClaims{"jti": name, "user_uuid": opentera.DemoProjectAdminUUID, "id_user": opentera.DemoProjectAdminID})
	}
	asks := func(path, token string, want int) {
		t.Helper()
		response, _ := gateway.request(nil, http.MethodGet, path, "", bearer(token))
		if response.StatusCode != want || want == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s, Retry-After %q; want %d", path, response.Status, response.Header.Get("Retry-After"), want)
		}
	}
	login := func() (status int, token string) {
		t.Helper()
		status, answer, _ := gateway.visit(nil, "/api/user/login", basic(opentera.DemoProjectAdmin))
		token, _ = answer["user_token"].(string)
		return status, token
	}
	const online, logout = "/api/user/users/online", "/api/user/logout"

	_, ours := login()
	if _, err := jwt.Parse(ours, func(*jwt.Token) (any, error) { return []byte(key), nil }); err != nil {
		t.Errorf("OpenTera refuses our token: %v", err)
	}
	theirs := ofOpenTera("theirs")
	asks(online, ours, http.StatusOK)
	asks(online, theirs, http.StatusOK)
	asks(logout, theirs, http.StatusOK)
	asks(online, theirs, http.StatusUnauthorized)
	if isDisabled, err := client.SIsMember(t.Context(), "user_disabled_tokens", theirs).Result(); !isDisabled || err != nil {
		t.Errorf("OpenTera accepts a token that was logged out here: %v", err)
	}
	if err := client.SAdd(t.Context(), "user_disabled_tokens", ours).Err(); err != nil {
		t.Fatal(err)
	}
	asks(online, ours, http.StatusUnauthorized)
	old, service := ofOpenTera("old"), signed(jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID})
	asks(online, old, http.StatusOK)
	asks("/api/service/disconnect", service, http.StatusBadRequest) // without a target
	if err := client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	asks(online, old, http.StatusServiceUnavailable)
	asks("/api/service/disconnect", service, http.StatusServiceUnavailable)
	if status, token := login(); status != http.StatusServiceUnavailable || token != "" {
		t.Errorf("%d, %q for a login while OpenTera is stopped", status, token)
	}
	key = "second" + strings.Repeat("k", 26)
	startOpenTera()
	asks(online, old, http.StatusUnauthorized)
	asks("/api/service/disconnect", service, http.StatusUnauthorized)
	asks(online, ofOpenTera("new"), http.StatusOK)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	asks(online, ofOpenTera("new"), http.StatusServiceUnavailable)
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	asks(online, ofOpenTera("new"), http.StatusOK)
	server.Kill()
	gateway.waitReady(http.StatusOK, "ready\ndegraded: OpenTera's Redis: ")
	if gateway.Log.Count("pass@")+gateway.Log.Count(key)+gateway.Log.Count(theirs) > 0 {
		t.Error("secrets in the log")
	}
}
