package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"terasocket/access"
	"terasocket/api"
	"terasocket/proto/event"
)

type tailCmd struct {
	databaseFlags
	trustFlags
	As       string  `name:"as" placeholder:"KIND:UUID" help:"Who to be, through the database: user:UUID, participant:UUID or device:UUID."`
	Username string  `name:"username" help:"Who to be, by a login: the user's name."`
	Password string  `name:"password" help:"Its password; better in TERASOCKET_PASSWORD or TERASOCKET_PASSWORD_FILE."`
	Since    *uint64 `name:"since" placeholder:"SEQ" help:"Resume after this seq."`
	JSON     bool    `name:"json" help:"Print one JSON object a line."`
	Server   string  `arg:"" optional:"" default:"wss://localhost:4050" help:"The gateway, wss://host:port or ws://host:port. Default: ${default}."`
}

// Run connects and prints events until ctx ends or the server closes the socket. A close by the server is an error: it
// names the code.
func (c *tailCmd) Run(ctx context.Context, con *console) error {
	tlsConfig, err := c.tls()
	if err != nil {
		return err
	}
	address, err := c.websocketURL(ctx, tlsConfig)
	if err != nil {
		return err
	}
	if c.Since != nil {
		address += fmt.Sprintf("&since=%d", *c.Since)
	}
	dialer := websocket.Dialer{TLSClientConfig: tlsConfig, HandshakeTimeout: 10 * time.Second, Proxy: http.ProxyFromEnvironment,
		Subprotocols: []string{"opentera.protobuf"}}
	conn, response, err := dialer.DialContext(ctx, address, nil)
	if err != nil {
		if response != nil {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
			return fmt.Errorf("the gateway refused: %s %s", response.Status, strings.TrimSpace(string(body)))
		}
		return withoutURL("connect to the gateway", err)
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
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the gateway ended the connection: %w", err)
		}
		line, err := c.line(frame)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(con.stdout, line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
}

func (c *tailCmd) line(frame []byte) (string, error) {
	e, err := event.ParseFrame(frame)
	if err != nil {
		return "", err
	}
	if !c.JSON {
		return describe(e), nil
	}
	line, err := json.Marshal(e)
	return string(line), err
}

// websocketURL logs in, or mints a token.
func (c *tailCmd) websocketURL(ctx context.Context, tlsConfig *tls.Config) (string, error) {
	base := strings.TrimSuffix(c.Server, "/")
	if strings.HasPrefix(base, "http") { // as a browser has it
		base = "ws" + strings.TrimPrefix(base, "http")
	}
	if err := checkServer("the gateway", base); err != nil {
		return "", err
	}
	switch {
	case c.As != "" && c.Username != "":
		return "", errors.New("--as and --username exclude each other")
	case c.As != "":
		kind, uuid, err := access.ParseRef(c.As)
		if err != nil {
			return "", fmt.Errorf("--as: %w", err)
		}
		token, err := mint(ctx, c.databaseFlags, kind, uuid)
		if err != nil {
			return "", err
		}
		return api.WebsocketURL(base, kind, token), nil
	case c.Username != "" && c.Password == "":
		return "", errors.New("no password given: set --password, TERASOCKET_PASSWORD or TERASOCKET_PASSWORD_FILE")
	case c.Username != "":
		return login(ctx, strings.Replace(base, "ws", "http", 1), c.Username, c.Password, tlsConfig)
	}
	return "", errors.New("say who to be: --as user:UUID, or --username and --password")
}

// login asks the gateway at base (https://host:port) for a websocket URL.
func login(ctx context.Context, base, username, password string, tlsConfig *tls.Config) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/api/user/login?with_websocket=true", nil)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	request.SetBasicAuth(username, password)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}, Timeout: 30 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return "", withoutURL("log in", err)
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
		return "", fmt.Errorf("log in as %s: %s: %s", username, response.Status, strings.TrimSpace(string(body)))
	}
	var answer struct {
		WebsocketURL string `json:"websocket_url"`
		Message      string `json:"message"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", fmt.Errorf("log in as %s: answer: %w", username, err)
	}
	if answer.WebsocketURL == "" {
		return "", fmt.Errorf("log in as %s: %s", username, answer.Message)
	}
	return answer.WebsocketURL, nil
}

// withoutURL keeps the token in the URL of a failed request out of the error.
func withoutURL(op string, err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		err = urlErr.Err
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return fmt.Errorf("%s: %w: trust it with --ca FILE", op, err)
	}
	return fmt.Errorf("%s: %w", op, err)
}
