package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"terasocket/cmd/terasocket/gatewaytest"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
)

// request makes a request to the gateway as a client with these TLS settings; show adds credentials. text is the answer's body.
func (s *served) request(config *tls.Config, method, path, body string, show func(*http.Request)) (response *http.Response, text string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.HTTP()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if show != nil {
		show(request)
	}
	response, err = (&http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: gatewaytest.Limit}).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, strings.TrimSpace(string(answer))
}

// visit requests a path, and reads a JSON object.
func (s *served) visit(config *tls.Config, path string, show func(*http.Request)) (status int, answer map[string]any, text string) {
	s.t.Helper()
	response, text := s.request(config, http.MethodGet, path, "", show)
	_ = json.Unmarshal([]byte(text), &answer)
	return response.StatusCode, answer, text
}

// call makes a REST call and returns status and body.
func (s *served) call(method, path, body string, show func(*http.Request)) string {
	s.t.Helper()
	response, text := s.request(gatewaytest.Insecure, method, path, body, show)
	return fmt.Sprint(response.StatusCode, " ", text)
}

func basic(username string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(username, opentera.DemoPassword) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "OpenTera "+token) }
}

// serviceToken returns a token of VideoRehabService, and the key that signs it.
func serviceToken(t *testing.T, conn *pgx.Conn) (token, key string) {
	t.Helper()
	key = dbtest.One[string](t, conn, "SELECT terasocket.service_token_key()")
	return must(jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"service_uuid": opentera.DemoVideoRehabServiceUUID,
		"exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte(key))), key
}
