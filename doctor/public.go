package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/api"
)

// publicChecks take the clients' way, through the proxy.
func (d *doctor) publicChecks() []check {
	return []check{
		{name: "public-url", ask: d.routed},
		{name: "login-url", needs: []string{"migrations"}, ask: d.owning.asks(d.loginsGiveIt)},
		{name: "password-routes", needs: []string{"public-url"}, ask: d.passwordRoutes},
	}
}

// socketChecks hold a socket open, and look at the open sockets.
func (d *doctor) socketChecks() []check {
	return []check{
		{name: "ping", needs: []string{"public-url"}, limit: d.hold + 10*time.Second, ask: d.survives},
		{name: "client-addresses", needs: []string{"migrations"}, ask: d.owning.asks(d.clientsAreKnown)},
	}
}

// publicURL is a parsed --public-url.
type publicURL struct {
	isTLS   bool
	host    string
	address string // host:port
}

// errPublicURL does not quote the URL, which may hold a password.
var errPublicURL = errors.New("--public-url is not wss://host:port")

func parsePublic(text string) (publicURL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "wss" && u.Scheme != "ws" {
		return publicURL{}, errPublicURL
	}
	p := publicURL{isTLS: u.Scheme == "wss", host: u.Hostname()}
	port := u.Port()
	switch {
	case port == "" && p.isTLS:
		port = "443"
	case port == "":
		port = "80"
	}
	p.address = net.JoinHostPort(p.host, port)
	return p, nil
}

// rubbish is not a token: the answer that refuses it shows that a gateway is there.
const rubbish = "terasocket-doctor"

// routed makes a handshake that a gateway must refuse, on each of the three paths.
func (d *doctor) routed(ctx context.Context) Finding {
	if d.PublicURL == "" {
		return warn("no --public-url given: serve without one makes websocket URLs of the Host that a request names",
			"give the address that clients use, wss://host:port, here and to serve")
	}
	if _, err := parsePublic(d.PublicURL); err != nil {
		return fail(err.Error(), "write it as wss://host:port, as serve needs it")
	}
	for _, kind := range access.Kinds {
		if f := d.refused(ctx, kind); f.Waits != "" {
			return f
		} else if f.Status != OK {
			f.Found = "/wss/" + kind.String() + ": " + f.Found
			return f
		}
	}
	return fine("a gateway answers on /wss/user, /wss/participant and /wss/device")
}

// loginsGiveIt checks what gateways put before /wss/... in the URLs of logins.
func (d *doctor) loginsGiveIt(ctx context.Context, tx pgx.Tx) (Finding, error) {
	rows, err := tx.Query(ctx, "SELECT name, public_url FROM terasocket.gateways WHERE lease_until > clock_timestamp() AND public_url IS NOT NULL ORDER BY name")
	if err != nil {
		return Finding{}, err
	}
	n := 0
	var without, other []string
	var name, url string
	_, err = pgx.ForEachRow(rows, []any{&name, &url}, func() error {
		n++
		switch {
		case url == "":
			without = append(without, name)
		case d.PublicURL != "" && !strings.EqualFold(strings.TrimSuffix(url, "/"), strings.TrimSuffix(d.PublicURL, "/")):
			other = append(other, fmt.Sprintf("%s gives %s", name, url))
		}
		return nil
	})
	switch {
	case err != nil:
		return Finding{}, err
	case n == 0:
		return skip("no gateway runs", ""), nil
	case len(other) > 0:
		return warn("logins give another address than --public-url: "+few(other), "give serve the --public-url that clients use"), nil
	case len(without) > 0:
		return warn("serves without --public-url: "+few(without)+". Logins then give the Host of the request, or what the last proxy says (X-ExternalServer, X-ExternalPort): "+
			"behind two proxies that is the inner one's address, or its port", "give serve --public-url wss://host:port, as clients use it"), nil
	}
	return fine("logins give the address that clients use"), nil
}

func (d *doctor) refused(ctx context.Context, kind access.Kind) Finding {
	conn, response, err := d.dialer().DialContext(ctx, api.WebsocketURL(d.PublicURL, kind, rubbish), nil)
	var untrusted *tls.CertificateVerificationError
	switch {
	case err == nil:
		_ = conn.Close()
		return fail("a socket opens for a made-up token", "this is no gateway of terasocket: see where the proxy sends /wss")
	case errors.As(err, &untrusted):
		return waits("public-certificate")
	case response == nil:
		return fail("not reached: "+cause(err), "see that the name resolves, and the port is open")
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // gorilla has already read it
	return judgeRefusal(response.StatusCode, string(body))
}

// judgeRefusal distinguishes a gateway's refusal from those of proxies and of OpenTera itself.
func judgeRefusal(code int, body string) Finding {
	body = strings.TrimSpace(body)
	found := fmt.Sprintf("answers %d %s", code, http.StatusText(code))
	switch {
	case code == http.StatusForbidden && body == "websocket authentication failed":
		return fine("%s", found)
	case code == http.StatusUpgradeRequired, code == http.StatusBadRequest && strings.Contains(body, "Connection: Upgrade is missing"):
		return fail(found+": a proxy takes the Upgrade away",
			"in nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";")
	case code == http.StatusBadRequest && strings.Contains(body, "HTTP request to an HTTPS server"):
		return fail(found+": the proxy speaks plain HTTP to a gateway with TLS", "proxy_pass https://..., or serve --plain-http")
	case code == http.StatusTooManyRequests:
		return warn(found+": too many bad tokens from this address", "wait a minute; if it stays, name the proxy in --trusted-proxies: all clients count as one")
	case code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		return fail(found+": the proxy does not reach the gateway", "see that serve runs, and that the proxy's address and protocol (proxy_pass https:// or http:// with --plain-http) are its. "+
			"Where nginx is a container, 127.0.0.1 is nginx itself: name the gateway's service, with a resolver (deploy/opentera/compose)")
	case code == http.StatusServiceUnavailable:
		return fail(found, "the gateway has no database or is stopping, or the proxy has no gateway: see its /readyz")
	case code == http.StatusForbidden:
		return fail(found+", but not in terasocket's words", "this is OpenTera's own server, or the proxy's rules: send /wss to the gateway (proxy_pass of location /wss)")
	}
	return fail(found, "this is no gateway: send /wss to it (proxy_pass of location /wss), and give its address as --public-url")
}

// survives holds a socket open for longer than proxies keep an idle one.
func (d *doctor) survives(ctx context.Context) Finding {
	if f := d.mayConnect(ctx); f.Status == Fail {
		return f
	}
	switch {
	case d.Quick:
		return skip("left out", "")
	case d.PublicURL == "":
		return skip("no --public-url given", "")
	case d.As == "":
		return skip("nobody to connect as", "give --as KIND:UUID of somebody who may be seen online for 35 s")
	}
	address, err := d.mint(ctx)
	if err != nil {
		return fail(err.Error(), "it must exist, be enabled and not be deleted, and this role may have to be granted what rights says")
	}
	conn, response, err := d.dialer().DialContext(ctx, address, nil)
	switch {
	case err != nil && response != nil:
		return fail("the handshake with a good token is answered "+response.Status, "see that the gateway works on this database, and its log")
	case err != nil:
		return fail("not reached: "+cause(err), "try again")
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	began, pings := time.Now(), 0
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error {
		pings++
		return answer(data)
	})
	_ = conn.SetReadDeadline(began.Add(d.hold))
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	lasted := time.Since(began).Round(time.Second / 10)
	var timeout net.Error
	switch {
	case !errors.As(err, &timeout) || !timeout.Timeout():
		return fail(fmt.Sprintf("the socket ended after %s, with %d pings: %s", lasted, pings, cause(err)),
			"the gateway pings every 10 s: raise the proxy's read and idle time-outs (proxy_read_timeout in nginx) to 30 s or more")
	case pings == 0:
		return warn(fmt.Sprintf("open for %s, but no ping came", lasted), "something in between answers pings itself: the gateway cannot see who is gone")
	}
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	return fine("open for %s as %s, with %d pings", lasted, d.As, pings)
}

// mayConnect looks the principal of --as up.
func (d *doctor) mayConnect(ctx context.Context) Finding {
	kind, uuid, err := access.ParseRef(d.As)
	if err != nil {
		return Finding{} // nobody, or not KIND:UUID, which is reported elsewhere
	}
	return d.owning.asks(func(ctx context.Context, tx pgx.Tx) (f Finding, err error) {
		var may bool
		err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM terasocket.principal($1, $2))", kind.String(), uuid).Scan(&may)
		if err == nil && !may {
			f = fail(fmt.Sprintf("there is no %s %s that may connect", kind, uuid), "it must exist, be enabled and not be deleted")
		}
		return f, err
	})(ctx)
}

// mint creates a URL that works once. Errors must not quote it.
func (d *doctor) mint(ctx context.Context) (string, error) {
	kind, uuid, err := access.ParseRef(d.As)
	if err != nil {
		return "", err
	}
	conn, err := d.serving.open(ctx)
	if err != nil {
		return "", err
	}
	var token string
	if err := conn.QueryRow(ctx, "SELECT terasocket.create_connect_token($1, $2)", kind.String(), uuid).Scan(&token); err != nil {
		return "", fmt.Errorf("no token for %s: %w", d.As, err)
	}
	return api.WebsocketURL(d.PublicURL, kind, token), nil
}

func (d *doctor) dialer() *websocket.Dialer {
	return &websocket.Dialer{TLSClientConfig: d.tlsConfig(), HandshakeTimeout: 5 * time.Second, Proxy: http.ProxyFromEnvironment,
		Subprotocols: []string{"opentera.protobuf"}}
}

// cause removes the URL of a failed request, with the token in it, from the error.
func cause(err error) string {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	return err.Error()
}
