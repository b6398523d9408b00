package bridge

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"

	"terasocket/bridge/standin"
)

// outage is how long something is down: as long as in bridge.md 11 if TERASOCKET_TEST_LONG is set (make chaos).
func outage(short, long time.Duration) time.Duration {
	if os.Getenv("TERASOCKET_TEST_LONG") != "" {
		return long
	}
	return short
}

// within repeats try until one is fast enough: on a busy machine not all are.
func (s *stage) within(bound time.Duration, what string, try func() time.Duration) {
	s.Helper()
	s.eventually(what, func() bool {
		took := try()
		s.Logf("%s: %s of %s", what, took.Round(time.Millisecond), bound)
		return took <= bound
	})
}

// bridge.md 0, 3.1, 8.5: with the default times, connects and disconnects are told within 200 ms, the owners of 200 sockets are online
// within 2 s of the user manager's return, and the bridge of a dead gateway is taken over within 5 s.
func TestTimes(t *testing.T) {
	t.Parallel()
	s := setup(t)
	s.opentera()
	b := s.leader(func(c *Config) { c.Lease, c.Look, c.Probe, c.Reconcile, c.Answer = 0, 0, 0, 0, 0 })
	socket := 0
	for _, kind := range []string{"user", "participant", "device"} {
		s.within(200*time.Millisecond, "a "+kind+" who comes and goes is told", func() time.Duration {
			socket++
			began := time.Now()
			s.connect(kind, 3, socket)
			s.areOnline(kind, 3)
			came := time.Since(began)
			began = time.Now()
			s.leave(socket)
			s.areOnline(kind)
			return max(came, time.Since(began))
		})
	}
	isOnline := s.crowd()
	s.eventually("everybody is online", isOnline)
	s.within(2*time.Second, "everybody is online again", func() time.Duration {
		s.must(s.manager.Stop(t.Context()))
		s.opentera()
		began := time.Now()
		s.eventually("everybody is online again", isOnline)
		return time.Since(began)
	})
	s.within(5*time.Second, "the bridge is taken over", func() time.Duration {
		s.exec("UPDATE terasocket.bridge SET term = term + 1, holder = 'dead', lease_until = clock_timestamp() + interval '3 seconds'")
		began := time.Now()
		s.eventually("it is lost", func() bool { return testutil.ToFloat64(b.metrics.leader) == 0 })
		s.leads(b)
		return time.Since(began)
	})
}

// aroundPipelines is called for each pipeline sent to Redis; next sends it.
type aroundPipelines func(next func())

func (f aroundPipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (f aroundPipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (f aroundPipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) (err error) {
		f(func() { err = next(ctx, commands) })
		return err
	}
}

// bridge.md 6.2: if the user manager listened just before a message but not just after, it has not heard it: the change is told
// again when it listens. If it raised at an earlier message, it leaves ours unread, though Redis may have counted it as a listener.
func TestDeafJustAfter(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"before", "at the same time"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t)
			slow := standin.Fast
			slow.Deaf = []time.Duration{time.Second}
			s.newManager(slow)
			s.opentera()
			s.connect("user", 3, 1)
			s.connect("user", 4, 2)
			idle := s.idle("here")
			r := s.reign(idle)
			s.must(r.tell(t.Context(), true))
			s.isOnline(3, 4)
			idle.Redis.AddHook(aroundPipelines(func(next func()) {
				if name == "before" {
					defer next()
				} else {
					s.must(s.client.Publish(t.Context(), messagesTopic, "\xff\xff\xff").Err())
					next()
				}
				s.manager.Deafen()
				s.eventually("Redis has noticed", func() bool { return s.client.PubSubNumSub(t.Context(), rpcTopic).Val()[rpcTopic] == 0 })
			}))
			r.reconciled = time.Now()
			s.connect("user", 5, 3)
			s.leave(1)
			if err := r.tell(t.Context(), true); (name == "before" || err != nil) && (!errors.Is(err, errDeaf) || !r.reconciled.IsZero() || testutil.ToFloat64(idle.Metrics.managerUp) != 0) {
				t.Errorf("%v, as of %s", err, r.reconciled)
			}
			s.leader(nil)
			s.isOnline(4, 5)
		})
	}
}
