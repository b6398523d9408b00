package doctor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"terasocket/access"
)

// logsIn asks OpenTera's own login for a websocket URL for the principal of --as, with a token signed with OpenTera's key, and
// checks the host in it. It needs no password, and only OpenTera writes to Redis: the ticket.
func (d *doctor) logsIn(ctx context.Context) Finding {
	if d.As == "" {
		return skip("nobody to log in as", "give --as KIND:UUID of somebody who is not online, and may be for a moment")
	}
	if d.PublicURL == "" {
		return skip("no --public-url given", "")
	}
	kind, uuid, err := access.ParseRef(d.As)
	if err != nil {
		return fail(err.Error(), "write it as user:UUID, participant:UUID or device:UUID")
	}
	path, token, err := d.credentials(ctx, kind, uuid)
	if err != nil {
		return fail(err.Error(), "it must exist, be enabled and not be deleted; examine as the owner of OpenTera's tables too: --migration-database-url")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(d.PublicURL, "ws", "http", 1)+path, nil)
	if err != nil {
		return fail(errPublicURL.Error(), "write it as wss://host:port")
	}
	request.Header.Set("Authorization", "OpenTera "+token)
	request.Header.Set("Accept-Language", "en")
	request.Header.Set("User-Agent", doctorName)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: d.tlsConfig(), DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // the token is for this server only
	response, err := client.Do(request)
	if err != nil {
		return fail("not reached: "+cause(err), "see that the proxy leads /api to OpenTera's server, and that this runs")
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	var answer struct {
		URL string `json:"websocket_url"`
	}
	if response.StatusCode != http.StatusOK || json.Unmarshal(body, &answer) != nil {
		return judgeLogin(response.StatusCode, string(body))
	}
	if answer.URL == "" {
		return skip(d.As+" gets no websocket URL: it is online for OpenTera, or a device that is not meant to be", "give --as somebody who is not online")
	}
	d.websocketURL = answer.URL
	return judgeServerName(d.PublicURL, answer.URL)
}

// credentials returns the login endpoint for this kind, and a token for it that is valid for a minute.
func (d *doctor) credentials(ctx context.Context, kind access.Kind, uuid string) (path, token string, err error) {
	claims := jwt.MapClaims{"iss": "TeraServer", "iat": d.now().Unix(), "exp": d.now().Add(time.Minute).Unix(), "jti": rand.Text()}
	switch kind {
	case access.User:
		claims["user_uuid"] = uuid
		token, err = d.sign(ctx, keyOfUsers, claims)
		return "/api/user/refresh_token?with_websocket=true", token, err
	case access.Participant:
		claims["participant_uuid"] = uuid
		token, err = d.sign(ctx, "ParticipantTokenAPIKey", claims)
		return "/api/participant/login?with_websocket=true", token, err
	}
	err = d.owning.read(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, "SELECT device_token FROM t_devices WHERE device_uuid = $1 AND deleted_at IS NULL", uuid).Scan(&token)
	})
	if err != nil {
		err = fmt.Errorf("no token of %s: %w", d.As, err)
	}
	return "/api/device/login", token, err
}

func (d *doctor) sign(ctx context.Context, key string, claims jwt.MapClaims) (string, error) {
	secret, err := d.redis.Get(ctx, key).Result()
	if err != nil {
		return "", fmt.Errorf("no %s: %w", key, err)
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return token, nil
}

// judgeLogin interprets the answers of OpenTera's login.
func judgeLogin(code int, body string) Finding {
	found := fmt.Sprintf("OpenTera's login answers %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusUnauthorized:
		return fail(found+" to a token signed with the key in Redis", "--redis-url must be that of the server that /api leads to; and the person of --as enabled and not deleted")
	case code == http.StatusForbidden && strings.Contains(body, "already logged in"):
		return skip(found+": already online", "give --as somebody who is not online")
	case code == http.StatusInternalServerError:
		return fail(found, "its user manager is deaf, or Redis came back empty: see redis-keys and user-manager, and OpenTera's log")
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return fail(found, "the proxy does not reach OpenTera's server: see that it runs")
	}
	return fail(found, "see where the proxy leads /api, and OpenTera's log")
}

// judgeServerName compares the host of a websocket URL with the public one.
func judgeServerName(public, given string) Finding {
	u, err := url.Parse(given)
	if err != nil || u.Host == "" {
		return fail("the websocket URL that OpenTera's login gives is not valid", "see server_name in OpenTera's nginx.conf")
	}
	wanted, _ := url.Parse(public)
	const todo = "set server_name in OpenTera's nginx.conf to the name that clients use, and reload nginx: OpenTera makes websocket URLs of it"
	ip := net.ParseIP(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case isLoopback && wanted.Hostname() != u.Hostname():
		return fail("OpenTera's login gives websocket URLs of "+u.Host+": every client would connect to itself", todo)
	case !strings.EqualFold(wanted.Host, u.Host):
		return warn("OpenTera's login gives websocket URLs of "+u.Host+", not "+wanted.Host, todo+", unless both are right")
	}
	return fine("OpenTera's login gives websocket URLs of %s", u.Host)
}
