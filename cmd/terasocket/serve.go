package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"terasocket/api"
	webconsole "terasocket/console"
	"terasocket/db"
	"terasocket/proto/event"
	"terasocket/ws"
)

type serveCmd struct {
	databaseFlags
	redisFlags
	logFlags
	settingsFlags
	ListenDatabaseURL string        `name:"listen-database-url" placeholder:"URL" help:"A direct connection for LISTEN, where --database-url goes through PgBouncer."`
	Listen            string        `name:"listen" default:":4050" help:"Address of sockets and REST."`
	AdminListen       string        `name:"admin-listen" default:"127.0.0.1:4051" help:"Address of health, metrics and console; empty for none."`
	ConsolePassFile   string        `name:"console-password-file" placeholder:"FILE" help:"The password of /console on --admin-listen. Without one the console is there on a loopback address only."`
	PlainHTTP         bool          `name:"plain-http" help:"No TLS here: a proxy in front terminates it."`
	TLSCert           string        `name:"tls-cert" placeholder:"FILE" help:"Certificate chain, PEM; read again when it changes."`
	TLSKey            string        `name:"tls-key" placeholder:"FILE" help:"Its key, PEM."`
	ClientCA          string        `name:"client-ca" placeholder:"FILE" help:"Certificates, PEM, that sign the client certificates of devices."`
	PublicURL         string        `name:"public-url" placeholder:"URL" help:"What login puts before /wss/...: wss://host:port. Default: from the request."`
	Encoding          string        `name:"encoding" enum:"protobuf,json," default:"" placeholder:"NAME" help:"Of a socket that asks for none: protobuf, or json for an installation with existing clients. Default: json with --redis-url, else protobuf."`
	TrustedProxies    []string      `name:"trusted-proxies" placeholder:"ADDR" help:"Addresses or networks whose X-Forwarded-For, X-ExternalServer and X-ExternalPort headers count."`
	ProxyCertificates bool          `name:"proxy-certificates" help:"The trusted proxies verify client certificates of devices: their X-SSL-CLIENT-DN and X-SSL-VERIFIED headers count, too. They must set both, whatever a client sends."`
	AllowedOrigins    []string      `name:"allowed-origins" placeholder:"ORIGIN" help:"Origins that browsers may connect and log in from, as https://host. Default: any, but then a page of another origin cannot send its cookie."`
	LogRetention      time.Duration `name:"log-retention" default:"24h" help:"How far back a client can resume."`
	LogMaxRows        int64         `name:"log-max-rows" default:"1000000" help:"How many events are kept at most."`
	AuditDeliveries   bool          `name:"audit-deliveries" help:"Record which events are sent to whom, in terasocket.deliveries: see terasocket audit."`
	AuditRetention    time.Duration `name:"audit-retention" default:"8760h" help:"How long that is kept: a day or more. Whole weeks are dropped."`
	MaxSockets        int           `name:"max-sockets" default:"16" help:"Sockets that one user, participant or device may have on this gateway; 0 for any number."`
	StatusRate        float64       `name:"status-rate" default:"2" help:"How often a device may post its status, a second; five times as many at once."`
	MaxBacklog        int           `name:"max-backlog" default:"262144" help:"Bytes that may wait for one socket; when there are more it is closed with 1013."`
	PresenceLease     time.Duration `name:"presence-lease" default:"10s" help:"When this gateway dies without a word, others announce its clients offline within this time."`
	PresenceGrace     time.Duration `name:"presence-grace" default:"5s" help:"How long a client may be away before it is announced offline; 0 for not at all."`
	WaitForDatabase   time.Duration `name:"wait-for-database" default:"0" help:"How long to wait at start for a database that cannot be reached yet."`
	DrainTime         time.Duration `name:"drain-time" default:"4s" help:"Over how long sockets are closed when the gateway stops; it has ended 4s later."`

	// of this process; zero in tests and the demo
	lost         func() uint64          // number of dropped log lines
	hangUp       <-chan os.Signal       // SIGHUP: reload what can be reloaded
	source       db.Source              // of --database-url
	listenSource db.Source              // of --listen-database-url
	redisSource  func() (string, error) // of --redis-url
}

// Help is printed below the flags.
func (c *serveCmd) Help() string {
	return "Close codes: 4000 CMD_CLIENT_DISCONNECT (kicked, do not return); 1012 restart, come back; 1013 too slow, come back and resume; " +
		"1008, 1009 the client broke the rules; 1011 our fault."
}

func (c *serveCmd) Run(ctx context.Context, con *console) error {
	survivePipes()
	log, lines := c.start(con.stderr)
	defer lines.Close()
	for _, text := range misspelt(ctx, os.Environ()) {
		log.Warn(text)
	}
	c.lost = lines.Lost
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)
	c.hangUp = hangUp
	c.source, c.listenSource = con.source("database-url", c.DatabaseURL), con.source("listen-database-url", c.ListenDatabaseURL)
	c.redisSource = con.secret("redis-url", c.RedisURL)
	g, err := openGateway(ctx, c, log)
	if err != nil {
		return err
	}
	defer g.close()
	systemd := newManager(log, func() { g.hub.Len() })
	defer systemd.watch(ctx)()
	return g.run(ctx, func() {
		systemd.ready()
		if _, err := fmt.Fprintf(con.stdout, "terasocket %s ready: %s, %s\n", version, g.url(), g.adminAddress()); err != nil {
			log.Warn("ready, but nobody reads that", "err", err)
		}
	})
}

// Validate rejects settings that cannot work together; --print-config prints them first.
func (c *serveCmd) Validate() error {
	if c.PrintConfig {
		return nil
	}
	return c.check()
}

// survivePipes turns a write to a pipe without a reader into an error, where it would end the process: readers of the log or of
// stdout may go away.
func survivePipes() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// check rejects settings that cannot work together.
func (c *serveCmd) check() error {
	switch {
	case c.PlainHTTP && (c.TLSCert != "" || c.TLSKey != ""):
		return errors.New("--plain-http and --tls-cert exclude each other")
	case c.PlainHTTP && c.ClientCA != "":
		return errors.New("--client-ca needs TLS here; with --plain-http the proxy checks certificates, and tells in X-SSL-CLIENT-DN and X-SSL-VERIFIED (--trusted-proxies, --proxy-certificates)")
	case c.ProxyCertificates && len(c.TrustedProxies) == 0:
		return errors.New("--proxy-certificates needs --trusted-proxies: the addresses of the proxies that verify certificates")
	case !c.PlainHTTP && (c.TLSCert == "" || c.TLSKey == ""):
		return errors.New("TLS needs --tls-cert and --tls-key; behind a proxy that terminates TLS say --plain-http")
	case c.AuditDeliveries && c.AuditRetention < 24*time.Hour:
		return errors.New("--audit-retention must be 24h or more")
	case c.PresenceLease < time.Second:
		return errors.New("--presence-lease must be 1s or more")
	}
	for name, isGood := range map[string]bool{"log-retention": c.LogRetention > 0, "log-max-rows": c.LogMaxRows > 0, "max-backlog": c.MaxBacklog > 0, "status-rate": c.StatusRate > 0} {
		if !isGood {
			return fmt.Errorf("--%s must be positive", name)
		}
	}
	for name, isGood := range map[string]bool{"drain-time": c.DrainTime >= 0, "wait-for-database": c.WaitForDatabase >= 0, "max-sockets": c.MaxSockets >= 0, "presence-grace": c.PresenceGrace >= 0} {
		if !isGood {
			return fmt.Errorf("--%s must not be negative", name)
		}
	}
	for name, address := range map[string]string{"listen": c.Listen, "admin-listen": c.AdminListen} {
		if _, _, err := net.SplitHostPort(address); err != nil && (name == "listen" || address != "") {
			return fmt.Errorf("--%s: %q is no address: write host:port, or :port for every address of this machine", name, address)
		}
	}
	if _, err := api.ParseProxies(c.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if c.PublicURL != "" {
		if err := checkServer("--public-url", c.PublicURL); err != nil {
			return err
		}
	}
	if c.ConsolePassFile != "" {
		if _, err := webconsole.ReadPassword(c.ConsolePassFile); err != nil {
			return err
		}
	}
	for _, origin := range c.AllowedOrigins {
		if u, err := url.Parse(origin); err != nil || u.Scheme == "" || u.Host == "" {
			return fmt.Errorf("--allowed-origins: %q must be an origin such as https://host:port", origin)
		}
	}
	_, err := c.encoding()
	return err
}

// encodingName returns the encoding of sockets that ask for none. OpenTera's clients read JSON.
func (c *serveCmd) encodingName() string {
	switch {
	case c.Encoding != "":
		return c.Encoding
	case c.RedisURL != "":
		return "json"
	}
	return "protobuf"
}

func (c *serveCmd) encoding() (event.Encoding, error) { return ws.ParseEncoding(c.encodingName()) }

// checkServer does not quote a bad address, which may hold a password.
func checkServer(name, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "wss" && u.Scheme != "ws" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%s must be wss://host or wss://host:port", name)
	}
	return nil
}
