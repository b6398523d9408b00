package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/api"
	"terasocket/proto/event"
	"terasocket/proto/terasocket"
	"terasocket/ws"
)

type tailCmd struct {
	databaseFlags
	trustFlags
	As       string  `name:"as" placeholder:"KIND:UUID" help:"Who to be, through the database: user:UUID, participant:UUID or device:UUID."`
	Username string  `name:"username" help:"Who to be, by a login: the user's name."`
	Password string  `name:"password" help:"Its password; better in TERASOCKET_PASSWORD or TERASOCKET_PASSWORD_FILE."`
	Since    *uint64 `name:"since" placeholder:"SEQ" help:"Resume after this seq."`
	Replace  bool    `name:"replace" help:"Log in where that user is connected already: the other sockets are closed."`
	JSON     bool    `name:"json" help:"Print one JSON object a line."`
	Server   string  `arg:"" optional:"" help:"The gateway, wss://host:port or ws://host:port. Default: with --as the --public-url of that database's gateways, else wss://localhost:4050."`

	gateways []string // of that database, without Server
}

// Help is printed below the flags.
func (c *tailCmd) Help() string {
	return "It comes back by itself, where it was, after 1011, 1012, 1013 and a connection that broke; not after 4000 (kicked) and other codes."
}

// Validate rejects a bad gateway address, and requires an identity.
func (c *tailCmd) Validate() error {
	if err := checkServer("the gateway", c.base()); err != nil {
		return err
	}
	switch {
	case c.As != "" && c.Username != "":
		return errors.New("--as and --username exclude each other")
	case c.As != "":
		if _, _, err := access.ParseRef(c.As); err != nil {
			return fmt.Errorf("--as: %w", err)
		}
	case c.Username == "":
		return errors.New("say who to be: --as user:UUID, or --username and --password")
	case c.Password == "":
		return errors.New("no password given: set --password, TERASOCKET_PASSWORD or TERASOCKET_PASSWORD_FILE")
	}
	return nil
}

// base returns what precedes /wss/...
func (c *tailCmd) base() string {
	base := strings.TrimSuffix(cmp.Or(c.Server, defaultServer), "/")
	if rest, ok := strings.CutPrefix(base, "http"); ok { // as in a browser
		return "ws" + rest
	}
	return base
}

// Run connects and prints events until ctx ends or the server closes the socket for good, which is an error with the close
// code. If the server allows a return, it reconnects and resumes after the last seq.
func (c *tailCmd) Run(ctx context.Context, con *console) error {
	tlsConfig, err := c.tls()
	if err != nil {
		return err
	}
	cursor, isFirst := uint64(0), true
	if c.Since != nil {
		cursor = *c.Since
	}
	for pause := tailRetry; ; {
		began := time.Now()
		err := c.once(ctx, con, tlsConfig, &cursor, !isFirst)
		if ctx.Err() != nil {
			return nil
		}
		var gone *comeBack
		var later *notYet
		if !errors.As(err, &gone) && (isFirst || !errors.As(err, &later)) {
			return err
		}
		if time.Since(began) > time.Minute {
			pause = tailRetry
		}
		isFirst = false
		if !c.JSON {
			_, _ = fmt.Fprintln(con.stderr, "coming back:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause/2)):
		}
		pause = min(2*pause, tailRetryMost)
	}
}

// Pauses before reconnecting, doubling; half of each is random.
const (
	tailRetry     = 2 * time.Second
	tailRetryMost = time.Minute
)

// comeBack is an end of a socket after which the client reconnects.
type comeBack struct{ error }

func (e *comeBack) Unwrap() error { return e.error }

// notYet means that the gateway is unreachable or accepts nobody now, which a client that was connected before retries.
type notYet struct{ error }

func (e *notYet) Unwrap() error { return e.error }

// once connects and prints events until the socket ends. cursor is the last seq; isBack: it was connected before, and replaces
// what the server still holds open of it. Errors: *comeBack, *notYet, and those that end tail.
func (c *tailCmd) once(ctx context.Context, con *console, tlsConfig *tls.Config, cursor *uint64, isBack bool) error {
	address, err := c.websocketURL(ctx, tlsConfig, isBack)
	if err != nil {
		return err
	}
	address += fmt.Sprintf("&since=%d", *cursor)
	dialer := websocket.Dialer{TLSClientConfig: tlsConfig, HandshakeTimeout: 10 * time.Second, Proxy: http.ProxyFromEnvironment,
		Subprotocols: []string{"opentera.protobuf"}}
	conn, response, err := dialer.DialContext(ctx, address, nil)
	if err != nil {
		if response == nil {
			err = withoutURL("connect to the gateway", err)
			if len(c.gateways) > 0 {
				err = fmt.Errorf("%w: give its address as the last argument, wss://host:port; gateways of this database: %s", err, strings.Join(c.gateways, ", "))
			}
			return &notYet{err}
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		err = errors.New("the gateway refused: " + refusal(response, body))
		if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
			return &notYet{err}
		}
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	if !c.JSON {
		_, _ = fmt.Fprintln(con.stderr, "connected, waiting for events")
	}
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return ended(err)
		}
		e, err := event.ParseFrame(frame)
		if err != nil {
			return err
		}
		*cursor = max(*cursor, e.Seq)
		if _, isCursor := e.Message.(*terasocket.Cursor); isCursor {
			continue
		}
		line, err := c.line(e)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(con.stdout, line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
}

// ended returns err as a *comeBack if the client may reconnect after it.
func ended(err error) error {
	var closed *websocket.CloseError
	code := ws.CloseAbnormal // it broke
	if errors.As(err, &closed) {
		code = ws.CloseCode(closed.Code)
	}
	err = fmt.Errorf("the gateway ended the connection: %w", err)
	if code.ComeBack() {
		return &comeBack{err}
	}
	return err
}

func (c *tailCmd) line(e event.Received) (string, error) {
	if !c.JSON {
		return describe(e), nil
	}
	line, err := json.Marshal(e)
	return string(line), err
}

// websocketURL logs in, or creates a token.
func (c *tailCmd) websocketURL(ctx context.Context, tlsConfig *tls.Config, isBack bool) (string, error) {
	base := c.base()
	if c.As != "" {
		kind, uuid, err := access.ParseRef(c.As)
		if err != nil {
			return "", err
		}
		token, fleet, err := mint(ctx, c.databaseFlags, kind, uuid)
		switch {
		case errors.Is(err, access.ErrUnknown):
			return "", err
		case err != nil:
			return "", &notYet{err}
		}
		if c.Server == "" {
			base, c.gateways = fleet.url, fleet.names
		}
		return api.WebsocketURL(base, kind, token), nil
	}
	query := "with_websocket=true"
	if isBack || c.Replace {
		query += "&replace=true"
	}
	return login(ctx, strings.Replace(base, "ws", "http", 1), query, c.Username, c.Password, tlsConfig)
}

// login requests a websocket URL from the gateway at base (https://host:port). Errors: *notYet if it may be retried, and others.
func login(ctx context.Context, base, query, username, password string, tlsConfig *tls.Config) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/user/login?"+query, nil)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	request.SetBasicAuth(username, password)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", &notYet{withoutURL("log in", err)}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return "", fmt.Errorf("log in as %s: wrong username or password", username)
	default:
		err := fmt.Errorf("log in as %s: %s", username, refusal(response, body))
		if response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests {
			return "", &notYet{err}
		}
		return "", err
	}
	var answer struct {
		WebsocketURL string `json:"websocket_url"`
		Message      string `json:"message"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("log in as %s: answer: %w", username, err)
	}
	if answer.WebsocketURL == "" {
		return "", fmt.Errorf("log in as %s: %s: tail knows no second step, use --as user:UUID, through the database", username, answer.Message)
	}
	return answer.WebsocketURL, nil
}

// answered formats a status and the body's text.
func answered(response *http.Response, body []byte) string {
	text := strings.TrimSpace(string(body))
	_ = json.Unmarshal(body, &text) // REST answers are JSON strings
	if strings.HasSuffix(response.Status, text) {
		return response.Status
	}
	return response.Status + ": " + text
}

// refusal formats a gateway's answer, and what to do.
func refusal(response *http.Response, body []byte) string {
	said := answered(response, body)
	switch {
	case strings.Contains(said, "HTTP request to an HTTPS server"):
		return said + ": it speaks TLS, say wss://"
	case strings.Contains(said, "already logged in"):
		return said + " --replace closes that one's sockets"
	case response.Header.Get("Retry-After") != "":
		return said + ": try again in " + response.Header.Get("Retry-After") + " s"
	}
	return said
}

// withoutURL removes the URL of a failed request, with the token in it, from the error.
func withoutURL(op string, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	var untrusted *tls.CertificateVerificationError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &untrusted):
		return fmt.Errorf("%s: %w: trust it with --ca FILE", op, err)
	case errors.As(err, &noTLS), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: it speaks no TLS, say ws://: %w", op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
