package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"terasocket/access"
	"terasocket/api"
)

// guests come online in the demo, so that somebody is there; none of them is suggested for logging in.
const guests = `SELECT kind, uuid FROM (
	SELECT 'user' AS kind, user_uuid::text AS uuid, id_user AS id, row_number() OVER (ORDER BY id_user) AS n FROM t_users
	WHERE  id_user > 17 AND user_enabled AND deleted_at IS NULL AND NOT user_superadmin
	UNION ALL
	SELECT 'participant', participant_uuid, id_participant, row_number() OVER (ORDER BY id_participant % 7, id_participant) FROM t_participants
	WHERE  id_participant NOT IN (1, 61) AND participant_enabled AND deleted_at IS NULL
	UNION ALL
	SELECT 'device', device_uuid, id_device, row_number() OVER (ORDER BY id_device % 4, id_device) FROM t_devices
	WHERE  id_device <> 1 AND device_enabled AND device_onlineable AND deleted_at IS NULL) g
WHERE n <= CASE kind WHEN 'user' THEN 9 WHEN 'participant' THEN 16 ELSE 7 END ORDER BY kind, id`

// acts happen in turn, one a second: clinicians record how long sessions last, devices report their status.
var acts = []string{
	`UPDATE t_sessions SET session_duration = session_duration + 30 WHERE id_session = (SELECT id_session FROM t_sessions WHERE deleted_at IS NULL ORDER BY random() LIMIT 1)`,
	`SELECT terasocket.device_status(principal, json_build_object('battery', 40 + (random() * 60)::int, 'charging', random() < .3)::text, extract(epoch FROM now()))
	 FROM terasocket.online WHERE kind = 'device' ORDER BY random() LIMIT 1`,
	`UPDATE t_participants SET participant_email = format('p%s.%s@example.org', id_participant, (random() * 1000)::int) WHERE id_participant = (
	 SELECT id_participant FROM t_participants WHERE deleted_at IS NULL ORDER BY random() LIMIT 1)`,
}

// meets and parts begin and end a session of some of those online.
const (
	meets = `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', json_build_object('@type', 'type.googleapis.com/opentera.protobuf.JoinSessionEvent',
		'sessionUuid', s.session_uuid, 'sessionCreatorName', 'Demo',
		'sessionUsers', (SELECT json_agg(user_uuid) FROM (SELECT u.user_uuid FROM terasocket.online o JOIN t_users u ON o.kind = 'user' AND u.id_user = o.principal ORDER BY random() LIMIT 1) u),
		'sessionParticipants', (SELECT json_agg(participant_uuid) FROM (SELECT p.participant_uuid FROM terasocket.online o JOIN t_participants p ON o.kind = 'participant' AND p.id_participant = o.principal ORDER BY random() LIMIT 2) p))::jsonb)
		FROM t_sessions s WHERE s.session_status < 2 AND s.deleted_at IS NULL ORDER BY random() LIMIT 1`
	parts = `SELECT terasocket.publish('module.TeraServer.UserManagerModule.messages', json_build_object('@type', 'type.googleapis.com/opentera.protobuf.StopSessionEvent', 'sessionUuid', b.session_uuid)::jsonb)
		FROM terasocket.busy b ORDER BY b.since LIMIT 1`
)

// live keeps guests connected and makes something happen every second, until ctx ends. It is for show: nothing depends on it.
func live(ctx context.Context, conn *pgx.Conn, url string, trust *tls.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rows, err := conn.Query(ctx, guests)
	if err != nil {
		return fmt.Errorf("look for guests: %w", err)
	}
	type guest struct{ Kind, UUID string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[guest])
	if err != nil {
		return fmt.Errorf("look for guests: %w", err)
	}
	var group errgroup.Group
	defer func() {
		cancel()
		_ = group.Wait()
	}()
	dialer := websocket.Dialer{TLSClientConfig: trust, HandshakeTimeout: 10 * time.Second, Subprotocols: []string{"opentera.protobuf"}}
	for _, g := range all {
		kind, err := access.ParseKind(g.Kind)
		if err != nil {
			return err
		}
		var token string
		if err := conn.QueryRow(ctx, "SELECT terasocket.create_connect_token($1, $2)", g.Kind, g.UUID).Scan(&token); err != nil {
			return fmt.Errorf("make a token for a guest: %w", err)
		}
		socket, _, err := dialer.DialContext(ctx, api.WebsocketURL(url, kind, token), nil)
		if err != nil {
			return withoutURL("connect a guest", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
		group.Go(func() error { // until the gateway ends it: kicked guests stay away
			defer stop()
			for {
				if _, _, err := socket.NextReader(); err != nil {
					return socket.Close()
				}
			}
		})
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		statements := []string{acts[n%len(acts)]}
		if n%15 == 1 {
			statements = append(statements, meets)
		}
		if n%15 == 10 && n > 40 {
			statements = append(statements, parts)
		}
		for _, sql := range statements {
			if _, err := conn.Exec(ctx, sql); err != nil && ctx.Err() == nil {
				return fmt.Errorf("keep the demo alive: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
