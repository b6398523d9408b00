package doctor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"terasocket/access"
	"terasocket/bridge"
	"terasocket/bridge/standin"
	"terasocket/db/dbtest"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
	"terasocket/ws"
)

// openTera is what runs beside an installation: its Redis, user manager and login, and a proxy before the login and a gateway.
type openTera struct {
	*installation
	server  *standin.Redis
	client  *redis.Client
	pool    *pgxpool.Pool
	manager *standin.UserManager
	login   *standin.Login
}

// beside starts an OpenTera beside the installation, and waits until it is up.
func (i *installation) beside() *openTera {
	i.Helper()
	server, err := standin.StartRedis(i.Context())
	if err != nil {
		i.Fatal(err)
	}
	i.Cleanup(server.Stop)
	o := &openTera{installation: i, server: server, pool: dbtest.Pool(i.T, i.DatabaseURL)}
	quiet := slog.New(slog.DiscardHandler)
	if o.manager, err = standin.NewUserManager(server.URL(), standin.PeopleOf(o.pool), standin.Fast, quiet); err != nil {
		i.Fatal(err)
	}
	i.Cleanup(o.manager.Close)
	if o.client, err = bridge.Open(func() (string, error) { return server.URL(), nil }); err != nil {
		i.Fatal(err)
	}
	i.Cleanup(func() { _ = o.client.Close() })
	o.login = &standin.Login{Redis: o.client, Pool: o.pool, Manager: o.manager, Log: quiet}
	i.RedisURL = server.URL()
	o.manager.Start(i.Context())
	dbtest.Eventually(i, "the user manager listens", o.manager.Hears)
	return o
}

// open returns a doctor whose checks can be run one by one; its connections end with the test.
func (o *openTera) open() *doctor {
	d := newDoctor(o.Config)
	o.Cleanup(d.close)
	return d
}

// asks is ask, for findings that must show no secret.
func (o *openTera) asks(d *doctor, names ...string) Finding {
	o.Helper()
	last := ask(o.T, d, names...)
	if strings.Contains(last.String(), "hush") || strings.Contains(last.String(), "id=") {
		o.Errorf("%s\nshows a secret", last)
	}
	return last
}

// tells reports a connect or disconnect to the user manager, as the bridge does.
func (o *openTera) tells(kind, uuid string, comes bool) {
	o.Helper()
	if err := o.tell(kind, uuid, comes); err != nil {
		o.Fatal(err)
	}
}

func (o *openTera) tell(kind, uuid string, comes bool) error {
	var event proto.Message
	switch kind {
	case "user":
		event = &pb.UserEvent{UserUuid: uuid, Type: map[bool]pb.UserEvent_EventType{true: pb.UserEvent_USER_CONNECTED, false: pb.UserEvent_USER_DISCONNECTED}[comes]}
	case "participant":
		event = &pb.ParticipantEvent{ParticipantUuid: uuid, Type: map[bool]pb.ParticipantEvent_EventType{true: pb.ParticipantEvent_PARTICIPANT_CONNECTED, false: pb.ParticipantEvent_PARTICIPANT_DISCONNECTED}[comes]}
	default:
		event = &pb.DeviceEvent{DeviceUuid: uuid, Type: map[bool]pb.DeviceEvent_EventType{true: pb.DeviceEvent_DEVICE_CONNECTED, false: pb.DeviceEvent_DEVICE_DISCONNECTED}[comes]}
	}
	const topic = "module.TeraServer.UserManagerModule.messages"
	bytes, err := proto.Marshal(standin.ModuleMessage("terasocket.test", topic, event))
	if err != nil {
		return err
	}
	return o.client.Publish(background(), topic, bytes).Err()
}

// redeemer redeems OpenTera's tickets.
type redeemer struct{ o *openTera }

func (r redeemer) Redeem(ctx context.Context, kind access.Kind, token string) (access.Identity, error) {
	uuid, err := r.o.client.GetDel(ctx, token).Result()
	if err != nil {
		return access.Identity{}, access.ErrRefused
	}
	id := access.Identity{Principal: access.Principal{Kind: kind}, UUID: uuid}
	err = r.o.pool.QueryRow(ctx, map[access.Kind]string{
		access.User: "SELECT id_user FROM t_users WHERE user_uuid = $1", access.Participant: "SELECT id_participant FROM t_participants WHERE participant_uuid = $1",
		access.Device: "SELECT id_device FROM t_devices WHERE device_uuid = $1"}[kind], uuid).Scan(&id.ID)
	return id, err
}

// recorder records who is connected, and tells OpenTera.
type recorder struct {
	o       *openTera
	address string
	isMute  bool // it does not tell OpenTera
}

func (r recorder) Connected(who access.Principal, clientName, _ string) func(bool) {
	table := map[access.Kind]string{access.User: "user", access.Participant: "participant", access.Device: "device"}[who.Kind]
	var uuid string
	_, err := r.o.pool.Exec(background(), `INSERT INTO terasocket.connections (gateway, socket, kind, principal, client_name, address)
		SELECT g.id, $3, $1, $2, $4, $5 FROM terasocket.gateways g`, table, who.ID, time.Now().UnixNano(), clientName, r.address)
	if err == nil {
		err = r.o.pool.QueryRow(background(), fmt.Sprintf("SELECT %s_uuid FROM t_%ss WHERE id_%s = $1", table, table, table), who.ID).Scan(&uuid)
	}
	if err == nil && !r.isMute {
		err = r.o.tell(table, uuid, true)
	}
	if err != nil {
		r.o.Error(err)
	}
	return func(bool) {
		_, err := r.o.pool.Exec(background(), "DELETE FROM terasocket.connections")
		if err = errors.Join(err, r.o.tell(table, uuid, false)); err != nil {
			r.o.Error(err)
		}
	}
}

// inFront is the proxy: /api goes to OpenTera, everything else to a gateway.
func (o *openTera) inFront(r recorder) {
	o.Helper()
	o.exec("INSERT INTO terasocket.gateways (name, lease_until) VALUES ('here', now() + interval '1 hour')")
	gateway := front(o.T, o.installation, func(h *ws.Handler) { h.Tokens, h.Presence = redeemer{o}, r })
	both := http.NewServeMux()
	both.Handle("/api/", o.login.Handler())
	proxied := httptest.NewServer(both)
	o.Cleanup(proxied.Close)
	to := proxy(o.T, gateway.URL, nil)
	both.Handle("/", to.Config.Handler)
	o.PublicURL = wsURL(proxied)
	o.login.Websockets = o.PublicURL
}

func TestRedis(t *testing.T) {
	t.Parallel()
	ask(t, newDoctor(Config{}), "redis").must(t, Skip, "--redis-url")
	o := newInstallation(t).beside()
	o.asks(o.open(), "redis").must(t, OK, o.server.Address(), "database 0")
	for url, words := range map[string][]string{
		"redis://127.0.0.1:1/0":                         {"connection refused", "TeraServerConfig.ini"},
		"redis://u:hush@" + o.server.Address() + "/0":   {"password", "TeraServerConfig.ini"},
		"redis://" + o.server.Address() + "/99":         {"no database 99"},
		"http://u:hush@" + o.server.Address():           {"redis://user:password@host:port/db"},
		"redis://u:hu%zsh@" + o.server.Address() + "/0": {"redis://user:password@host:port/db"},
	} {
		d := newDoctor(Config{RedisURL: url})
		t.Cleanup(d.close)
		o.asks(d, "redis").must(t, Fail, append(words, "--redis-url")...)
	}
	if err := o.client.Do(t.Context(), "ACL", "SETUSER", "lesser", "on", ">hush", "~*", "&*", "+@all", "-publish").Err(); err != nil {
		t.Fatal(err)
	}
	d := newDoctor(Config{RedisURL: "redis://lesser:hush@" + o.server.Address() + "/0"})
	t.Cleanup(d.close)
	o.asks(d, "redis").must(t, Fail, "lesser lacks a right", "publish")
}

func TestRedisKeys(t *testing.T) {
	t.Parallel()
	o := newInstallation(t).beside()
	o.asks(o.open(), "redis", "redis-keys").must(t, OK, "database 0")
	o.RedisURL = "redis://" + o.server.Address() + "/3"
	o.asks(o.open(), "redis", "redis-keys").must(t, Fail, "in database 0, not 3", "end --redis-url in /0")
	// bridge.md, 9: Redis came back empty
	o.RedisURL = o.server.URL()
	if err := o.client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	o.asks(o.open(), "redis", "redis-keys").must(t, Fail, "UserTokenAPIKey is missing", "came back empty", "500 until OpenTera's server is restarted")
	if err := o.manager.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.asks(o.open(), "redis", "redis-keys").must(t, Fail, "UserTokenAPIKey is missing", "does not run")
}

func TestUserManager(t *testing.T) {
	t.Parallel()
	o := newInstallation(t).beside()
	o.asks(o.open(), "redis", "user-manager").must(t, OK)
	o.asks(o.open(), "redis", "user-manager-rpc").must(t, OK, "within")
	second, err := standin.NewUserManager(o.server.URL(), standin.PeopleOf(o.pool), standin.Fast, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	second.Start(t.Context())
	dbtest.Eventually(t, "the second listens", second.Hears)
	o.asks(o.open(), "redis", "user-manager").must(t, Warn, "2 user managers listen")
	second.Crash()
	o.manager.Crash()
	o.asks(o.open(), "redis", "user-manager").must(t, Fail, "does not listen", "deaf")
	// it listens but does not answer
	mute := o.client.Subscribe(t.Context(), "module.TeraServer.UserManagerModule.rpc")
	t.Cleanup(func() { _ = mute.Close() })
	if _, err := mute.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.asks(o.open(), "redis", "user-manager-rpc").must(t, Fail, "no answer within 1s", "hangs")
}

// bridge.md, 10: online_* equals connections.
func TestOnline(t *testing.T) {
	t.Parallel()
	o := newInstallation(t).beside()
	o.exec(`INSERT INTO terasocket.gateways (id, name, lease_until) VALUES ('11111111-0000-4000-8000-000000000000', 'here', now() + interval '1 hour'),
		('00000000-0000-0000-0000-000000000000', 'OpenTera''s own server', now() + interval '1 hour'), ('22222222-0000-4000-8000-000000000000', 'dead', now())`)
	socket := func(gateway, kind string, id int) {
		o.exec(fmt.Sprintf("INSERT INTO terasocket.connections (gateway, kind, principal) VALUES ('%s', '%s', %d)", gateway, kind, id))
	}
	agree := func() Finding { return o.asks(o.open(), "redis", "online") }
	agree().must(t, OK, "all 0")
	user, device := opentera.DemoProjectAdminUUID, opentera.DemoDeviceUUID
	socket("11111111-0000-4000-8000-000000000000", "user", opentera.DemoProjectAdminID)
	agree().must(t, Fail, "does not know of 1", "user:"+user, "--redis-url")
	o.tells("user", user, true)
	agree().must(t, OK, "all 1")
	socket("22222222-0000-4000-8000-000000000000", "participant", 1) // of a gateway that died
	agree().must(t, OK, "all 1")
	o.tells("device", device, true)
	agree().must(t, Fail, "holds 1 to be online", "device:"+device)
	o.exec(fmt.Sprintf("UPDATE t_devices SET deleted_at = now() WHERE id_device = %d", opentera.DemoDeviceID))
	agree().must(t, OK, "all 1") // which is never told of
	o.exec(fmt.Sprintf("UPDATE t_devices SET deleted_at = NULL WHERE id_device = %d", opentera.DemoDeviceID))
	socket("00000000-0000-0000-0000-000000000000", "device", opentera.DemoDeviceID)
	agree().must(t, OK, "all 1", "1 on its own server")
	newDoctor(o.Config).gatewaysAre(t, "here with 1 sockets", "OpenTera")
}

// gatewaysAre checks that OpenTera's own server is not listed as one of our gateways.
func (d *doctor) gatewaysAre(t *testing.T, name, not string) {
	t.Helper()
	f := ask(t, d, "gateways")
	f.must(t, Warn, name)
	if strings.Contains(f.String(), not) {
		t.Errorf("%s", f)
	}
}

// A ticket of OpenTera's login works end to end, for each kind; no token is shown.
func TestTicket(t *testing.T) {
	t.Parallel()
	o := newInstallation(t).beside()
	o.inFront(recorder{o: o, address: "192.0.2.7"})
	for _, as := range []string{"user:" + opentera.DemoProjectAdminUUID, "participant:" + opentera.DemoParticipantUUID, "device:" + opentera.DemoDeviceUUID} {
		o.As = as
		d := o.open()
		o.asks(d, "redis", "login").must(t, OK, strings.TrimPrefix(o.PublicURL, "ws://"))
		o.asks(d, "ticket").must(t, OK, "OpenTera knows of it")
		o.asks(d, "client-addresses").must(t, OK, "is known")
	}
	kind, uuid, _ := strings.Cut(o.As, ":")
	dbtest.Eventually(t, "the doctor's socket has ended", func() bool { return len(o.manager.Online(kind)) == 0 })
	o.tells(kind, uuid, true)
	dbtest.Eventually(t, "it is online", func() bool { return len(o.manager.Online(kind)) == 1 })
	o.asks(o.open(), "redis", "login").must(t, Skip, "already online")
	o.As = ""
	o.asks(o.open(), "redis", "login").must(t, Skip, "--as KIND:UUID")
	o.As = "user:" + opentera.DemoDeletedUUID
	o.asks(o.open(), "redis", "ticket").must(t, Skip)
	o.As = "device:" + opentera.DemoDeletedUUID
	o.asks(o.open(), "redis", "login").must(t, Fail, "no token of device:", "--migration-database-url")
	o.As = "user:" + opentera.DemoProjectUserUUID
	if err := o.client.Set(t.Context(), "UserTokenAPIKey", "another", 0).Err(); err != nil {
		t.Fatal(err)
	}
	o.asks(o.open(), "redis", "login").must(t, OK) // the stand-in reads it each time
	o.manager.Crash()
	o.asks(o.open(), "redis", "login").must(t, Fail, "answers 500", "user-manager")
	o.PublicURL = "ws://127.0.0.1:1"
	o.asks(o.open(), "redis", "login").must(t, Fail, "not reached", "/api")
}

// A gateway without OpenTera's Redis, one that does not tell OpenTera, and a proxy that hides its clients.
func TestTicketThatFails(t *testing.T) {
	t.Parallel()
	o := newInstallation(t).beside()
	o.inFront(recorder{o: o, isMute: true})
	o.As = "user:" + opentera.DemoProjectAdminUUID
	d := o.open()
	o.asks(d, "redis", "login", "ticket").must(t, Fail, "does not get to know of it", "bridge")
	o.asks(d, "client-addresses").must(t, Warn, "1 of 1", "X-Forwarded-For $proxy_add_x_forwarded_for")
	o.login.Websockets = wsURL(front(t, o.installation, nil))
	o.asks(o.open(), "redis", "login", "ticket").must(t, Fail, "answered 403", "--redis-url")
	o.login.Websockets = "ws://127.0.0.1:1"
	o.asks(o.open(), "redis", "login").must(t, Warn, "127.0.0.1:1, not ")
	o.asks(o.open(), "redis", "login", "ticket").must(t, Fail, "not reached")
}

func TestJudgeServerName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		public, given string
		want          Status
	}{
		{"wss://tera.example:40075", "wss://tera.example:40075/wss/user?id=hush", OK},
		{"wss://TERA.example:40075", "wss://tera.example:40075/wss/user?id=hush", OK},
		{"wss://127.0.0.1:40075", "wss://127.0.0.1:40075/wss/user?id=hush", OK},
		{"wss://tera.example:40075", "wss://127.0.0.1:40075/wss/user?id=hush", Fail}, // as shipped
		{"wss://tera.example:40075", "wss://localhost:40075/wss/user?id=hush", Fail},
		{"wss://tera.example:40075", "wss://[::1]:40075/wss/user?id=hush", Fail},
		{"wss://tera.example:40075", "wss://tera.example:443/wss/user?id=hush", Warn},
		{"wss://tera.example:40075", "hush", Fail},
		{"wss://tera.example:40075", "wss://%zzhush", Fail},
	} {
		f := judgeServerName(test.public, test.given)
		f.must(t, test.want)
		if f.Status != OK {
			f.must(t, test.want, "server_name")
		}
		if strings.Contains(f.String(), "hush") {
			t.Errorf("%s\nshows a ticket", f)
		}
	}
}

func TestJudgeLogin(t *testing.T) {
	t.Parallel()
	judgeLogin(401, "Unauthorized").must(t, Fail, "401", "--redis-url")
	judgeLogin(403, `"User already logged in."`).must(t, Skip)
	judgeLogin(403, "Forbidden").must(t, Fail, "/api")
	judgeLogin(500, "").must(t, Fail, "redis-keys")
	judgeLogin(502, "").must(t, Fail, "does not reach OpenTera")
	judgeLogin(200, "<html>").must(t, Fail)
}

func TestJudgeAddresses(t *testing.T) {
	t.Parallel()
	judgeAddresses(0, 0, nil).must(t, Skip)
	judgeAddresses(3, 0, []string{"192.0.2.1", "192.0.2.2"}).must(t, OK, "all 3")
	judgeAddresses(3, 1, []string{"192.0.2.1"}).must(t, Warn, "1 of 3", "X-Forwarded-For")
	judgeAddresses(3, 0, []string{"127.0.0.1"}).must(t, Warn, "all 3 sockets come from 127.0.0.1", "if that is a proxy", "--trusted-proxies")
	judgeAddresses(1, 0, []string{"127.0.0.1"}).must(t, OK)
	judgeAddresses(3, 0, []string{"192.0.2.1"}).must(t, OK) // one clinic
}

func TestBridge(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.RedisURL = "redis://127.0.0.1:1"
	ask(t, newDoctor(i.Config), "bridge").must(t, Fail, "no gateway is the bridge", "--redis-url")
	i.exec("UPDATE terasocket.bridge SET holder = 'here :4050 (7)', lease_until = now() + interval '1 hour'")
	ask(t, newDoctor(i.Config), "bridge").must(t, OK, "here :4050 (7)")
	i.exec("UPDATE terasocket.bridge SET lease_until = now() - interval '1 second'")
	ask(t, newDoctor(i.Config), "bridge").must(t, Fail)
}
