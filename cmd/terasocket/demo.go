package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"terasocket/db/embedded"
	"terasocket/db/opentera"
	"terasocket/migrations"
)

type demoCmd struct {
	Listen    string   `name:"listen" default:"127.0.0.1:4050" help:"Address of sockets and REST; port 0 for a free one."`
	Admin     string   `name:"admin-listen" default:"127.0.0.1:4051" help:"Address of health, metrics and console; port 0 for a free one."`
	Encoding  string   `name:"encoding" enum:"protobuf,json" default:"protobuf" help:"Of a socket that asks for none: protobuf or json."`
	PlainHTTP bool     `name:"plain-http" help:"Without TLS: ws:// and http://."`
	Once      bool     `name:"once" help:"Show the job and end, instead of serving on."`
	Life      bool     `name:"life" default:"true" negatable:"" help:"While it serves on, keep some clients connected, and have something happen every second."`
	Level     logLevel `name:"log-level" default:"warn" help:"Log from this level on: debug, info, warn or error."`
}

// Run starts everything, shows who receives what, and serves until ctx ends. It leaves nothing behind.
func (c *demoCmd) Run(ctx context.Context, con *console) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(con.stdout, format+"\n", args...) }

	if err := mustBeFree("--listen", c.Listen); err != nil {
		return err
	}
	if err := mustBeFree("--admin-listen", c.Admin); err != nil {
		return err
	}
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	dir, err := os.MkdirTemp("", "terasocket-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the certificate: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	conn, databaseURL, err := demoDatabase(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	say("PostgreSQL      throw-away, in %s", server.Dir())
	say("OpenTera        3 sites, 8 projects, 40 users, 120 participants, 30 devices, 60 sessions")
	say("terasocket      migrated to version %d", migrations.Latest())

	serve := demoServe(c.Listen, databaseURL)
	serve.AdminListen, serve.PlainHTTP, serve.Encoding = c.Admin, c.PlainHTTP, c.Encoding
	safety := "without TLS"
	if !c.PlainHTTP {
		cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		if err := selfSigned(cert, key); err != nil {
			return err
		}
		serve.TLSCert, serve.TLSKey = cert, key
		safety = "its own certificate in " + cert
	}
	log, lines := logFlags{LogLevel: c.Level}.start(con.stderr)
	defer lines.Close()
	g, err := openGateway(ctx, serve, log)
	if err != nil {
		return err
	}
	defer g.close()
	running, stop := context.WithCancel(ctx)
	defer stop()
	group, failed := errgroup.WithContext(running)
	ready := make(chan struct{})
	group.Go(func() error { return g.run(running, func() { close(ready) }) })
	select {
	case <-ready:
		say("serving         %s, %s", g.url(), safety)
		say("console         http://%s/console/\n", g.admin.Addr())
	case <-failed.Done():
		return group.Wait()
	}
	trust := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} //nolint:gosec // our own certificate, made above
	showErr := show(ctx, con.stdout, conn, g.url(), trust)
	if showErr == nil && !c.Once {
		c.invite(con.stdout, g.url(), databaseURL)
		showErr = logins(ctx, con.stdout, conn, g.url())
	}
	if showErr == nil && !c.Once {
		say("\nLook at it: http://%s/console/\n\nCtrl-C ends it and cleans up.", g.admin.Addr())
		if c.Life {
			showErr = live(ctx, conn, g.url(), trust)
		}
	}
	if showErr == nil && !c.Once {
		<-ctx.Done()
	}
	stop()
	if ctx.Err() != nil && errors.Is(showErr, context.Canceled) {
		showErr = nil // Ctrl-C in the middle
	}
	return errors.Join(showErr, group.Wait())
}

// demoServe is serve with settings for a demonstration: clients that leave are announced soon.
func demoServe(listen, databaseURL string) *serveCmd {
	return &serveCmd{databaseFlags: databaseFlags{databaseURL}, Listen: listen, LogRetention: 24 * time.Hour, LogMaxRows: 1_000_000,
		MaxBacklog: 256 << 10, StatusRate: 2, PresenceLease: 10 * time.Second, PresenceGrace: 5 * time.Second}
}

// mustBeFree checks that an address is free before the work starts.
func mustBeFree(flag, address string) error {
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%[2]s is taken, perhaps by another gateway: %[3]s demo %[1]s 127.0.0.1:0 takes a port that is free", flag, address, os.Args[0])
	}
	if err != nil {
		return cannotListen(flag, address, err)
	}
	return listener.Close()
}

// newDatabase creates an empty database for OpenTera.
func newDatabase(ctx context.Context, server *embedded.Server) (_ *pgx.Conn, url string, err error) {
	admin, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return nil, "", fmt.Errorf("connect to the throw-away PostgreSQL: %w", err)
	}
	_, err = admin.Exec(ctx, "CREATE DATABASE opentera")
	_ = admin.Close(context.WithoutCancel(ctx))
	if err != nil {
		return nil, "", fmt.Errorf("create the database: %w", err)
	}
	url = server.URL("opentera")
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, "", fmt.Errorf("connect to the database: %w", err)
	}
	return conn, url, nil
}

// demoDatabase creates OpenTera's database with the demo data, and migrates it.
func demoDatabase(ctx context.Context, server *embedded.Server) (_ *pgx.Conn, url string, err error) {
	conn, url, err := newDatabase(ctx, server)
	if err != nil {
		return nil, "", err
	}
	if err = opentera.Load(ctx, conn); err == nil {
		err = migrations.Up(ctx, url)
	}
	if err != nil {
		return nil, "", errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
	}
	return conn, url, nil
}

// invite prints what to try.
func (c *demoCmd) invite(w io.Writer, url, databaseURL string) {
	program, err := os.Executable()
	if err != nil {
		program = "terasocket"
	}
	_, _ = fmt.Fprintf(w, `
Try it. In one terminal, be a clinician:

  %[1]s tail --insecure \
    --username paul.project --password terasocket-demo %[2]s

In another, change something:

  psql '%[3]s' \
    -c "UPDATE t_participants SET participant_name = 'Lucie T.' WHERE id_participant = 1"

Users, password terasocket-demo: admin (superadmin), claire.site (admin of site 1), paul.project
(admin of project 1), ursula.user (user of project 1), patricia.project (projects 4 and 5),
nora.norole (sees nobody but herself).
`, program, url, databaseURL)
}

// logins prints a login for each kind of client, with each kind of credentials.
func logins(ctx context.Context, w io.Writer, conn *pgx.Conn, url string) error {
	var participant, device string
	err := conn.QueryRow(ctx, `SELECT (SELECT participant_token FROM t_participants
		WHERE id_participant > $1 AND participant_enabled AND participant_token_enabled AND deleted_at IS NULL ORDER BY id_participant LIMIT 1), (SELECT device_token FROM t_devices WHERE id_device = $2)`,
		opentera.DemoParticipantID, opentera.DemoDeviceID).Scan(&participant, &device)
	if err != nil {
		return fmt.Errorf("read the demo's tokens: %w", err)
	}
	_, err = fmt.Fprintf(w, `
Log in by hand; the websocket_url in the answer works once, within 60 s:

  curl -k -u %[2]s:%[3]s '%[1]s/api/user/login?with_websocket=true'
  curl -k -u %[4]s:%[3]s %[1]s/api/participant/login
  curl -k -H 'Authorization: OpenTera %[5]s' %[1]s/api/participant/login
  curl -k '%[1]s/api/device/login?token=%[6]s'
`, strings.Replace(url, "ws", "http", 1), opentera.DemoProjectUser, opentera.DemoPassword, opentera.DemoParticipant, participant, device)
	return err
}
