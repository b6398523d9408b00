package standin

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"terasocket/db/dbtest"
	"terasocket/proto/opentera"
)

const (
	anna = "00000000-0000-4000-8000-000000000001"
	paul = "00000000-0000-4000-8000-000000000002"
)

// setup returns a user manager that listens, a client, and a subscription to what it publishes.
func setup(t *testing.T) (*UserManager, *redis.Client, *redis.PubSub) {
	t.Helper()
	server, err := StartRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	people := func(_ context.Context, kind, uuid string) (Person, bool, error) {
		return Person{Name: "Anna A"}, kind == "user" && uuid == anna || kind == "participant" && uuid == paul, nil
	}
	m, err := NewUserManager(server.URL(), people, Fast, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	client := redis.NewClient(&redis.Options{Addr: server.Address(), Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	said := client.Subscribe(t.Context(), eventsTopic, "reply")
	t.Cleanup(func() { _ = said.Close() })
	for range 2 {
		if _, err := said.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	m.Start(t.Context())
	dbtest.Eventually(t, "it hears", m.Hears)
	return m, client, said
}

func connected(uuid string) *opentera.TeraModuleMessage {
	return ModuleMessage("websocket.user."+uuid, messagesTopic, &opentera.UserEvent{UserUuid: uuid, Type: opentera.UserEvent_USER_CONNECTED})
}

// ask calls a method.
func ask(t *testing.T, client *redis.Client, said *redis.PubSub, method string) string {
	t.Helper()
	if err := publish(t.Context(), client, rpcTopic, &opentera.RPCMessage{Method: method, Id: 3, ReplyTo: "reply"}); err != nil {
		t.Fatal(err)
	}
	for {
		message, err := said.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if message.Channel == "reply" {
			var reply struct {
				Status string          `json:"status"`
				Value  json.RawMessage `json:"return_value"`
			}
			if err := json.Unmarshal([]byte(message.Payload), &reply); err != nil || reply.Status != "OK" {
				t.Fatal(reply, err)
			}
			return string(reply.Value)
		}
	}
}

func TestUserManager(t *testing.T) {
	t.Parallel()
	m, client, said := setup(t)
	for range 2 { // one echo for each, and the list stays a set
		if err := publish(t.Context(), client, messagesTopic, connected(anna)); err != nil {
			t.Fatal(err)
		}
		message, err := said.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var e opentera.TeraEvent
		if err := proto.Unmarshal([]byte(message.Payload), &e); err != nil || len(e.GetEvents()) != 1 || e.GetHeader().GetTopic() != eventsTopic {
			t.Fatal(&e, err)
		}
	}
	if got := ask(t, client, said, "online_users"); got != `["`+anna+`"]` {
		t.Error(got)
	}
	service := Service{Redis: client, Key: "VideoRehabService"}
	session := Session{UUID: "00000000-0000-4000-8000-0000000000aa", Users: []string{anna}, Participants: []string{paul}}
	if err := service.Join(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, client, said, "busy_participants"); got != `{"`+paul+`":"`+session.UUID+`"}` {
		t.Error(got)
	}
	if err := service.Reply(t.Context(), Session{UUID: session.UUID}, anna, opentera.JoinSessionReplyEvent_REPLY_BUSY); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, client, said, "busy_users"); got != `{}` {
		t.Error(got)
	}
	if got := ask(t, client, said, "status_participants"); got != `{"`+paul+`":{"busy":true,"online":false}}` {
		t.Error(got)
	}
	// an empty RPC only counts the listeners
	if n, err := client.Publish(t.Context(), rpcTopic, "").Result(); n != 1 || err != nil {
		t.Error(n, err)
	}
	if m.Raised() != 0 {
		t.Error("it raised")
	}
}

func TestUserManagerRaises(t *testing.T) {
	t.Parallel()
	m, client, said := setup(t)
	join := func(user string) *opentera.TeraModuleMessage {
		return ModuleMessage("service", messagesTopic, &opentera.JoinSessionEvent{SessionUuid: paul, SessionUsers: []string{user}})
	}
	garbage := func() error { return client.Publish(t.Context(), messagesTopic, strings.Repeat("\xff", 20)).Err() }
	send := func(message *opentera.TeraModuleMessage) func() error {
		return func() error { return publish(t.Context(), client, messagesTopic, message) }
	}
	stop := send(ModuleMessage("service", messagesTopic, &opentera.StopSessionEvent{SessionUuid: paul}))
	for i, bad := range []func() error{garbage, send(join(paul)), stop, send(connected(paul))} {
		if err := bad(); err != nil {
			t.Fatal(err)
		}
		dbtest.Eventually(t, "it has stopped hearing", func() bool { return m.Raised() == i+1 && !m.Hears() })
		if n, err := client.Publish(t.Context(), rpcTopic, "").Result(); err != nil || n > 1 {
			t.Error(n, err)
		}
		dbtest.Eventually(t, "it hears", m.Hears)
	}
	// it keeps its state
	if err := publish(t.Context(), client, messagesTopic, connected(anna)); err != nil {
		t.Fatal(err)
	}
	ask(t, client, said, "online_users")
	m.Deafen()
	dbtest.Eventually(t, "it has stopped hearing", func() bool { return !m.Hears() })
	dbtest.Eventually(t, "it hears", m.Hears)
	if got := m.Online("user"); !slices.Equal(got, []string{anna}) {
		t.Error(got)
	}
}

// slowPublish delays every PUBLISH, and counts those that Redis has answered.
type slowPublish struct{ answered atomic.Int32 }

func (*slowPublish) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*slowPublish) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (p *slowPublish) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "publish" {
			return next(ctx, cmd)
		}
		time.Sleep(50 * time.Millisecond)
		err := next(ctx, cmd)
		p.answered.Add(1)
		return err
	}
}

// Whoever subscribes after Online or Busy has shown a change does not hear of it: a service that then hosts a session invites nobody twice.
func TestAChangeIsSeenOncePublished(t *testing.T) {
	t.Parallel()
	m, client, _ := setup(t)
	m.Crash()
	slow := new(slowPublish)
	m.client.AddHook(slow)
	m.Start(t.Context())
	dbtest.Eventually(t, "it hears", m.Hears)
	if err := publish(t.Context(), client, messagesTopic, connected(anna)); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "it is online", func() bool { return len(m.Online("user")) == 1 })
	if slow.answered.Load() != 1 {
		t.Error("online before the event was published")
	}
	if err := publish(t.Context(), client, messagesTopic, ModuleMessage("service", messagesTopic, &opentera.JoinSessionEvent{SessionUuid: paul, SessionUsers: []string{anna}})); err != nil {
		t.Fatal(err)
	}
	dbtest.Eventually(t, "it is busy", func() bool { return len(m.Busy("user")) == 1 })
	if slow.answered.Load() != 2 {
		t.Error("busy before the event was published")
	}
}

func TestOpenTeraStartsAgain(t *testing.T) {
	t.Parallel()
	m, client, said := setup(t)
	if err := publish(t.Context(), client, messagesTopic, connected(anna)); err != nil {
		t.Fatal(err)
	}
	ask(t, client, said, "online_users")
	old := client.Get(t.Context(), "UserTokenAPIKey").Val()
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 || len(old) != 32 {
		t.Errorf("%d keys are left; the key had %d characters", n, len(old))
	}
	m.Start(t.Context())
	dbtest.Eventually(t, "it hears", m.Hears)
	if key := client.Get(t.Context(), "UserTokenAPIKey").Val(); len(key) != 32 || key == old {
		t.Error("no new key")
	}
	if got := ask(t, client, said, "online_users"); got != `[]` {
		t.Error(got)
	}
}
