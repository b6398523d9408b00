package bridge_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"terasocket/access"
	"terasocket/bridge"
	"terasocket/db/opentera"
)

// forgetful is a connection that ends after a command of a name, before its answer, if it is the first of several to be sent one.
type forgetful struct {
	net.Conn
	name          string
	first, isLost *atomic.Bool
}

func (f *forgetful) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(f.name)) && f.first.CompareAndSwap(false, true) {
		f.isLost.Store(true)
	}
	return f.Conn.Write(b)
}

func (f *forgetful) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.isLost.Load() {
		return 0, io.EOF
	}
	return n, err
}

// bridge.md 2, 5: whether a ticket or a refresh whose answer was lost was the first, nobody knows: that is no refusal.
func TestAnswersOfRedisThatAreLost(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	loses := func(name string) *redis.Client {
		options, first := *d.redis.Options(), new(atomic.Bool)
		options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return &forgetful{conn, name, first, new(atomic.Bool)}, err
		}
		client := redis.NewClient(&options)
		t.Cleanup(func() { _ = client.Close() })
		return client
	}
	ticket := d.login("a browser", opentera.DemoProjectAdminUUID)
	tickets := &bridge.Tickets{Redis: loses("del"), Tokens: d.Tokens}
	if _, err := tickets.Redeem(t.Context(), access.User, ticket); err == nil || errors.Is(err, access.ErrRefused) {
		t.Errorf("a ticket: %v", err)
	}
	if isFirst, err := (&bridge.Keys{Redis: loses("sadd")}).Disable(t.Context(), "user", "token"); err == nil {
		t.Errorf("a token: first %v, and no error", isFirst)
	}
	if n := d.redis.SCard(t.Context(), "user_disabled_tokens").Val(); n != 1 {
		t.Errorf("%d tokens are disabled", n)
	}
}
