package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"terasocket/bridge"
	"terasocket/bridge/standin"
	"terasocket/db/embedded"
	"terasocket/db/opentera"
)

type demoOpenTeraCmd struct {
	Listen string   `name:"listen" default:"127.0.0.1:0" help:"Address of sockets; port 0 for a free one."`
	Level  logLevel `name:"log-level" default:"error" help:"Log from this level on: debug, info, warn or error."`
}

// Run takes over the sockets of a stand-in for OpenTera, shows that its clients receive what they would have received there,
// and ends. Any difference is an error.
func (c *demoOpenTeraCmd) Run(ctx context.Context, con *console) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(con.stdout, format+"\n", args...) }
	if err := mustBeFree("--listen", c.Listen); err != nil {
		return err
	}
	server, err := embedded.Start(ctx, embedded.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	conn, databaseURL, err := demoDatabase(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// a login with the demo's 12 rounds costs up to a second of CPU, which is not the point here
	if _, err := conn.Exec(ctx, "UPDATE t_users SET user_password = $1", opentera.DemoPasswordQuickHash); err != nil {
		return fmt.Errorf("set the passwords: %w", err)
	}
	store, err := standin.StartRedis(ctx)
	if err != nil {
		return fmt.Errorf("%w (make redis installs it)", err)
	}
	defer store.Stop()
	say("PostgreSQL      throw-away, in %s", server.Dir())
	say("Redis           throw-away, %s", store.URL())

	log, lines := logFlags{LogLevel: c.Level}.start(con.stderr)
	defer lines.Close()
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer pool.Close()
	manager, err := standin.NewUserManager(store.URL(), standin.PeopleOf(pool), standin.Timing{}, log)
	if err != nil {
		return err
	}
	defer manager.Close()
	client, err := bridge.Open(func() (string, error) { return store.URL(), nil })
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	manager.Start(ctx)

	serve := demoServe(c.Listen, databaseURL)
	serve.RedisURL, serve.PlainHTTP = store.URL(), true
	g, err := openGateway(ctx, serve, log)
	if err != nil {
		return err
	}
	defer g.close()
	login := &standin.Login{Redis: client, Pool: pool, Manager: manager, Websockets: g.url(), Log: log}
	doors, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for logins: %w", err)
	}
	logins := &http.Server{Handler: login.Handler(), ReadHeaderTimeout: headerTimeout}
	running, stop := context.WithCancel(ctx)
	defer stop()
	group, failed := errgroup.WithContext(running)
	group.Go(func() error { return serveHTTP(logins, doors) })
	group.Go(func() error {
		<-failed.Done()
		return logins.Close()
	})
	ready := make(chan struct{})
	group.Go(func() error { return g.run(failed, func() { close(ready) }) })
	select {
	case <-ready:
	case <-failed.Done():
		return group.Wait()
	}
	say("OpenTera        a stand-in: its logins on http://%s, its user manager in Redis", doors.Addr())
	say("terasocket      its websockets, on %s; it takes the tickets of OpenTera's logins\n", g.url())
	s := &demoStage{ctx: failed, w: con.stdout, conn: conn, manager: manager, service: standin.Service{Redis: client, Key: "VideoRehabService"},
		login: "http://" + doors.Addr().String()}
	showErr := s.show()
	stop()
	return errors.Join(showErr, group.Wait())
}

// patience bounds every wait.
const patience = 20 * time.Second

// there waits until OpenTera's user manager listens.
func (s *demoStage) there() error {
	return s.until("OpenTera's user manager to listen", patience, s.manager.Hears)
}

// until waits until isSo, at most for limit.
func (s *demoStage) until(what string, limit time.Duration, isSo func() bool) error {
	for end := time.Now().Add(limit); !isSo(); {
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", limit, what)
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
