package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/access"
	"terasocket/api"
	"terasocket/proto/event"
	"terasocket/proto/opentera"
)

// viewers are the demo's three users, with different rights.
var viewers = [...]struct{ username, who string }{
	{"admin", "superadmin"},
	{"paul.project", "admin of project 1"},
	{"patricia.project", "projects 4 and 5"},
}

// scene is one action in a clinician's application, as one transaction.
type scene struct {
	title      string
	statements []string
}

var scenes = []scene{
	{"rename participant 1, of project 1", []string{
		`UPDATE t_participants SET participant_name = participant_name || ' (new)' WHERE id_participant = 1`}},
	{"plan a session with participant 1", []string{
		`INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime,
		                         session_duration, session_status, version_id)
		 SELECT nextval('id_session_sequence'), gen_random_uuid()::text, min(id_session_type), 1, 'Demo session', now(), 0, 0, 1
		 FROM t_sessions_types WHERE deleted_at IS NULL`,
		`INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id)
		 SELECT nextval('id_session_participant'), max(id_session), 1, 1 FROM t_sessions`}},
	{"start it", []string{
		`UPDATE t_sessions SET session_status = 1 WHERE id_session = (SELECT max(id_session) FROM t_sessions)`}},
	{"rename participant 61, of project 4", []string{
		`UPDATE t_participants SET participant_name = participant_name || ' (new)' WHERE id_participant = 61`}},
	{"move participant 2 from project 1 to 4", []string{
		`UPDATE t_participants SET id_project = 4, id_participant_group = NULL WHERE id_participant = 2`}},
	{"soft-delete participant 61", []string{
		`UPDATE t_participants SET deleted_at = now() WHERE id_participant = 61`}},
	{"change a server setting", []string{
		`UPDATE t_server_settings SET server_settings_value = 'secret' WHERE server_settings_name = 'DeviceRegisterKey'`}},
}

// hearing is an event that a viewer received.
type hearing struct {
	what string
	at   time.Time
}

// listening is a viewer with a socket.
type listening struct {
	mu    sync.Mutex
	heard []hearing
	ends  chan struct{} // end of a scene; closed with the socket
}

// show connects the viewers, plays the scenes, and prints who received what, with the time from COMMIT to receipt.
func show(ctx context.Context, w io.Writer, conn *pgx.Conn, url string, trust *tls.Config) error {
	var ears [len(viewers)]listening
	for i, v := range viewers {
		var token string // not a login, which costs a second of CPU
		err := conn.QueryRow(ctx, "SELECT terasocket.create_connect_token('user', user_uuid) FROM t_users WHERE user_username = $1", v.username).Scan(&token)
		if err != nil {
			return fmt.Errorf("make a token for %s: %w", v.username, err)
		}
		dialer := websocket.Dialer{TLSClientConfig: trust, HandshakeTimeout: 10 * time.Second, Subprotocols: []string{"opentera.protobuf"}}
		socket, _, err := dialer.DialContext(ctx, api.WebsocketURL(url, access.User, token), nil)
		if err != nil {
			return withoutURL("connect", err)
		}
		ears[i].ends = make(chan struct{}, len(scenes))
		go ears[i].listen(socket)
		defer func() {
			_ = socket.Close()
			for range ears[i].ends { // until closed
			}
		}()
	}
	for _, s := range scenes {
		committed, err := s.play(ctx, conn)
		if err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		if err := end(ctx, conn, &ears); err != nil {
			return fmt.Errorf("%s: %w", s.title, err)
		}
		_, _ = fmt.Fprintln(w, s.title)
		for i := range ears {
			_, _ = fmt.Fprintf(w, "  %-37s%s\n", viewers[i].username+" ("+viewers[i].who+")", ears[i].take(committed))
		}
	}
	return ctx.Err()
}

// play returns when COMMIT was sent.
func (s scene) play(ctx context.Context, conn *pgx.Conn) (committed time.Time, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	for _, statement := range s.statements {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return time.Time{}, err
		}
	}
	committed = time.Now()
	return committed, tx.Commit(ctx)
}

func (l *listening) listen(socket *websocket.Conn) {
	defer close(l.ends)
	for {
		_, frame, err := socket.ReadMessage()
		if err != nil {
			return
		}
		now := time.Now()
		what := "?"
		if e, err := event.ParseFrame(frame); err == nil {
			switch m := e.Message.(type) {
			case *opentera.DatabaseEvent:
				what = m.GetType().String() + " " + m.GetObjectType()
			case *opentera.ArchiveEvent:
				l.ends <- struct{}{}
				continue
			default:
				continue // presence is not part of the scenes
			}
		}
		l.mu.Lock()
		l.heard = append(l.heard, hearing{what, now})
		l.mu.Unlock()
	}
}

// take returns what was received since the last call, as one cell.
func (l *listening) take(committed time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.heard) == 0 {
		return "-"
	}
	cells := make([]string, len(l.heard))
	for i, h := range l.heard {
		cells[i] = fmt.Sprintf("%s %.1f ms", h.what, h.at.Sub(committed).Seconds()*1000)
	}
	l.heard = nil
	return strings.Join(cells, ",\n"+strings.Repeat(" ", 39))
}

// endSQL tells every viewer, by a message of its own, that a scene is over. $1: usernames.
const endSQL = `SELECT terasocket.publish('service.FileTransferService.events', jsonb_build_object('@type', 'type.googleapis.com/opentera.protobuf.ArchiveEvent',
	'archiveUuid', user_uuid, 'ownerUuid', user_uuid)) FROM t_users WHERE user_username = ANY($1)`

// end waits until every viewer has received all of a scene: the log has one order, and what is published now comes last.
func end(ctx context.Context, conn *pgx.Conn, ears *[len(viewers)]listening) error {
	var usernames []string
	for _, v := range viewers {
		usernames = append(usernames, v.username)
	}
	if _, err := conn.Exec(ctx, endSQL, usernames); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	for i := range ears {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, isOpen := <-ears[i].ends:
			if !isOpen {
				return fmt.Errorf("the gateway closed the socket of %s", viewers[i].username)
			}
		}
	}
	return nil
}
