package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"terasocket/bridge"
)

// redisChecks check a running OpenTera through its Redis.
func (d *doctor) redisChecks() []check {
	if d.RedisURL == "" {
		return []check{{name: "redis", ask: func(context.Context) Finding {
			return skip("not asked: no --redis-url given", "beside a running OpenTera, give the address of its Redis here and to serve")
		}}}
	}
	return []check{
		{name: "redis", ask: d.reachRedis},
		{name: "redis-keys", needs: []string{"redis"}, ask: d.keysAreInRedis},
		{name: "user-manager", needs: []string{"redis"}, ask: d.managerListens},
		{name: "user-manager-rpc", needs: []string{"user-manager"}, limit: managerLimit, ask: d.managerAnswers},
		{name: "bridge", needs: []string{"migrations"}, ask: d.owning.asks(bridgeIsHeld)},
		{name: "online", needs: []string{"user-manager-rpc", "migrations"}, ask: d.onlineAgrees},
		{name: "login", needs: []string{"public-url", "redis-keys", "opentera"}, limit: 15 * time.Second, ask: d.logsIn},
		{name: "ticket", needs: []string{"login"}, ask: d.ticketOpens},
	}
}

// managerLimit bounds the answer of OpenTera's user manager. OpenTera's own callers wait for 10 s.
const managerLimit = time.Second

// openRedis returns the connection pool for OpenTera's Redis.
func (d *doctor) openRedis() (*redis.Client, error) {
	if d.redis != nil {
		return d.redis, nil
	}
	client, err := bridge.Open(func() (string, error) { return d.RedisURL, nil })
	if err != nil {
		return nil, err
	}
	d.redis = client
	return client, nil
}

// reachRedis connects, and checks the user's rights.
func (d *doctor) reachRedis(ctx context.Context) Finding {
	client, err := d.openRedis()
	if err != nil {
		return fail("--redis-url: "+err.Error(), "write it as redis://user:password@host:port/db")
	}
	if err := bridge.Check(ctx, client); err != nil {
		return fail("--redis-url: "+err.Error(), "see that it is the Redis of OpenTera's settings (TeraServerConfig.ini), runs, and is reached from here, with this user and password")
	}
	return fine("%s, database %d, with all rights that are needed", client.Options().Addr, client.Options().DB)
}

// keyOfUsers is the key of OpenTera's user tokens, made at each of its starts.
const keyOfUsers = "UserTokenAPIKey"

// keysAreInRedis looks for the keys that OpenTera makes at each start; they exist only in its own database.
func (d *doctor) keysAreInRedis(ctx context.Context) Finding {
	n, err := d.redis.Exists(ctx, keyOfUsers, "ParticipantTokenAPIKey", "ServiceTokenAPIKey").Result()
	switch {
	case err != nil:
		return fail("Redis does not say: "+err.Error(), "try again")
	case n == 3:
		return fine("OpenTera's keys are in database %d", d.redis.Options().DB)
	}
	for db := range 16 {
		options := *d.redis.Options()
		options.DB = db
		other := redis.NewClient(&options)
		n, err := other.Exists(ctx, keyOfUsers).Result()
		_ = other.Close()
		if err == nil && n == 1 && db != d.redis.Options().DB {
			return fail(fmt.Sprintf("OpenTera's keys are in database %d, not %d", db, d.redis.Options().DB), fmt.Sprintf("end --redis-url in /%d, here and for serve", db))
		}
	}
	if listeners, err := bridge.Listeners(ctx, d.redis); err == nil && listeners > 0 {
		return fail("Redis answers and "+keyOfUsers+" is missing: it came back empty, and OpenTera's login answers 500 until OpenTera's server is restarted",
			"restart OpenTera's server: it makes the keys; let Redis keep its data on disk (save in redis.conf)")
	}
	return fail("Redis answers and "+keyOfUsers+" is missing: OpenTera's server does not run, or this is another Redis",
		"start OpenTera's server: it makes the keys; else see Redis in its settings (TeraServerConfig.ini)")
}

// managerListens counts the user managers that listen.
func (d *doctor) managerListens(ctx context.Context) Finding {
	n, err := bridge.Listeners(ctx, d.redis)
	switch {
	case err != nil:
		return fail(err.Error(), "mend that, then examine again")
	case n == 0:
		return fail("OpenTera's user manager does not listen", "see that OpenTera's server runs. After a message that it could not take it is deaf for 6 s, then 13 s, up to 120 s: "+
			"its log says which; examine again then")
	case n > 1:
		return warn(fmt.Sprintf("%d user managers listen", n), "one Redis is for one OpenTera: give each a Redis of its own, topics have no database number")
	}
	return fine("OpenTera's user manager listens")
}

// managerAnswers calls the method that each login calls.
func (d *doctor) managerAnswers(ctx context.Context) Finding {
	began := time.Now()
	if _, err := bridge.Ask(ctx, d.redis, "online_users"); err != nil {
		return fail("OpenTera's user manager listens, but: "+err.Error(), "OpenTera's server is overloaded or hangs: its logins with a websocket end in 500 after 10 s; see its log")
	}
	return fine("OpenTera's user manager answers within %s", (time.Since(began) + time.Millisecond).Truncate(time.Millisecond))
}

// bridgeIsHeld reports which gateway holds the bridge.
func bridgeIsHeld(ctx context.Context, tx pgx.Tx) (Finding, error) {
	var holder string
	var isHeld bool
	err := tx.QueryRow(ctx, "SELECT coalesce(holder, ''), holder IS NOT NULL AND lease_until > clock_timestamp() FROM terasocket.bridge").Scan(&holder, &isHeld)
	if err == nil && !isHeld {
		return fail("no gateway is the bridge to OpenTera's Redis: nothing that its services publish gets here", "start `terasocket serve` with this --redis-url, and see its log for \"bridge\""), nil
	}
	return fine("%s is the bridge", holder), err
}

// elsewhere is OpenTera's own server, as a gateway.
const elsewhere = "00000000-0000-0000-0000-000000000000"

// here returns those with an open socket, as kind:UUID; true: on one of our gateways, false: on OpenTera's own server.
func here(ctx context.Context, tx pgx.Tx) (map[string]bool, error) {
	rows, err := tx.Query(ctx, `SELECT c.kind || ':' || coalesce(u.user_uuid, p.participant_uuid, d.device_uuid), bool_or(g.id <> $1)
		FROM   terasocket.connections c JOIN terasocket.gateways g ON g.id = c.gateway AND g.lease_until > clock_timestamp()
		LEFT   JOIN t_users u ON c.kind = 'user' AND u.id_user = c.principal AND u.deleted_at IS NULL
		LEFT   JOIN t_participants p ON c.kind = 'participant' AND p.id_participant = c.principal AND p.deleted_at IS NULL
		LEFT   JOIN t_devices d ON c.kind = 'device' AND d.id_device = c.principal AND d.deleted_at IS NULL
		WHERE  coalesce(u.user_uuid, p.participant_uuid, d.device_uuid) IS NOT NULL
		GROUP  BY 1`, elsewhere)
	if err != nil {
		return nil, err
	}
	who := map[string]bool{}
	var name string
	var isOurs bool
	_, err = pgx.ForEachRow(rows, []any{&name, &isOurs}, func() error { who[name] = isOurs; return nil })
	return who, err
}

// there returns those that OpenTera's user manager believes to be online, as kind:UUID.
func (d *doctor) there(ctx context.Context) (map[string]bool, error) {
	who := map[string]bool{}
	for _, kind := range []string{"user", "participant", "device"} {
		value, err := bridge.Ask(ctx, d.redis, "online_"+kind+"s")
		if err != nil {
			return nil, err
		}
		var uuids []string
		if err := json.Unmarshal(value, &uuids); err != nil {
			return nil, fmt.Errorf("online_%ss: the answer is no list", kind)
		}
		for _, uuid := range uuids {
			who[kind+":"+uuid] = true
		}
	}
	return who, nil
}

// withoutDeleted removes the deleted: OpenTera is never told about them, and its login refuses them anyway.
func withoutDeleted(ctx context.Context, tx pgx.Tx, who map[string]bool) error {
	rows, err := tx.Query(ctx, `SELECT w FROM unnest($1::text[]) w WHERE split_part(w, ':', 2) IN (
		SELECT user_uuid FROM t_users WHERE deleted_at IS NOT NULL UNION ALL
		SELECT participant_uuid FROM t_participants WHERE deleted_at IS NOT NULL UNION ALL
		SELECT device_uuid FROM t_devices WHERE deleted_at IS NOT NULL)`, slices.Collect(maps.Keys(who)))
	if err != nil {
		return err
	}
	var name string
	_, err = pgx.ForEachRow(rows, []any{&name}, func() error { delete(who, name); return nil })
	return err
}

// onlineAgrees compares those with a socket with those that OpenTera believes to be online. People come and go, so a difference
// counts only if it shows several times.
func (d *doctor) onlineAgrees(ctx context.Context) Finding {
	var unknown, ghosts map[string]bool // what differed each time
	var ours, theirs int
	for range 4 {
		online, err := d.there(ctx)
		if err != nil {
			return fail("OpenTera's user manager does not say who is online: "+err.Error(), "see OpenTera's log")
		}
		var open map[string]bool
		err = d.serving.read(ctx, func(tx pgx.Tx) (err error) {
			if open, err = here(ctx, tx); err != nil {
				return err
			}
			return withoutDeleted(ctx, tx, online)
		})
		if err != nil {
			return unanswered(err)
		}
		ours, theirs = 0, 0
		missing, more := map[string]bool{}, map[string]bool{}
		for who, isOurs := range open {
			if isOurs {
				ours++
			} else {
				theirs++
			}
			if isOurs && !online[who] && (unknown == nil || unknown[who]) {
				missing[who] = true
			}
		}
		for who := range online {
			if _, isOpen := open[who]; !isOpen && (ghosts == nil || ghosts[who]) {
				more[who] = true
			}
		}
		unknown, ghosts = missing, more
		if len(unknown)+len(ghosts) == 0 {
			found := fmt.Sprintf("OpenTera knows of all %d that have a socket here", ours)
			if theirs > 0 {
				found += fmt.Sprintf(", and we of %d on its own server", theirs)
			}
			return fine("%s", found)
		}
		select {
		case <-ctx.Done():
			return fail(ctx.Err().Error(), "try again")
		case <-time.After(400 * time.Millisecond):
		}
	}
	var found []string
	if len(unknown) > 0 {
		found = append(found, fmt.Sprintf("OpenTera does not know of %d that have a socket here (%s): invitations do not reach them", len(unknown), few(slices.Sorted(maps.Keys(unknown)))))
	}
	if len(ghosts) > 0 {
		found = append(found, fmt.Sprintf("OpenTera holds %d to be online that have no socket (%s): its login gives them no websocket URL", len(ghosts), few(slices.Sorted(maps.Keys(ghosts)))))
	}
	return fail(strings.Join(found, "; "), "a gateway with --redis-url tells OpenTera, and compares every 30 s: see that one runs, and its log for \"bridge\"")
}
