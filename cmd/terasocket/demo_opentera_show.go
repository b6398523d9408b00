package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/jackc/pgx/v5"

	"terasocket/bridge/standin"
	"terasocket/db/opentera"
	pb "terasocket/proto/opentera"
)

// demoStage holds the demo beside OpenTera.
type demoStage struct {
	ctx     context.Context
	w       io.Writer
	conn    *pgx.Conn // OpenTera's database
	manager *standin.UserManager
	service standin.Service
	login   string // URL of OpenTera's logins

	began     time.Time
	paul      *guest
	ursula    *guest
	patient   *guest
	complaint []string // differences found
}

// session is the demo's video session.
const session = "5e551011-0000-4000-8000-000000000001"

// plan does what a video service does first by OpenTera's REST API: it creates the session and its members. $1: its UUID; $2,
// $3: UUIDs of users and participants.
const plan = `WITH planned AS (
	INSERT INTO t_sessions (id_session, session_uuid, id_session_type, id_creator_user, session_name, session_start_datetime, session_duration, session_status, version_id)
	SELECT nextval('id_session_sequence'), $1, min(id_session_type), 1, 'Demo session', now(), 0, 0, 1 FROM t_sessions_types WHERE deleted_at IS NULL RETURNING id_session
), users AS (
	INSERT INTO t_sessions_users (id_session_user, id_session, id_user, version_id)
	SELECT nextval('id_session_user'), p.id_session, u.id_user, 1 FROM planned p, t_users u WHERE u.user_uuid = ANY ($2)
)
INSERT INTO t_sessions_participants (id_session_participant, id_session, id_participant, version_id)
SELECT nextval('id_session_participant'), p.id_session, t.id_participant, 1 FROM planned p, t_participants t WHERE t.participant_uuid = ANY ($3)`

// show plays the scenes. The error lists what went wrong.
func (s *demoStage) show() error {
	if err := s.invite(); err != nil {
		return err
	}
	defer func() {
		for _, g := range s.guests() {
			g.leave()
		}
	}()
	for _, scene := range []func() error{s.redeem, s.join, s.busy, s.kick, s.restart} {
		if err := scene(); err != nil {
			return err
		}
	}
	return s.outcome()
}

// outcome returns what went wrong.
func (s *demoStage) outcome() error {
	if len(s.complaint) > 0 {
		return errors.New(strings.Join(s.complaint, "; "))
	}
	_, _ = fmt.Fprintln(s.w, "All as expected. To install it beside your OpenTera, or remove it: deploy/opentera/README.md")
	return nil
}

func (s *demoStage) guests() []*guest { return []*guest{s.paul, s.ursula, s.patient} }

// invite looks up the three: two clinicians and a participant of their project.
func (s *demoStage) invite() error {
	basic := func(name string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+opentera.DemoPassword))
	}
	const byPassword = "/api/user/login?with_websocket=true"
	s.paul = &guest{name: opentera.DemoProjectAdmin, who: "admin of project 1", uuid: opentera.DemoProjectAdminUUID, path: byPassword, authorization: basic(opentera.DemoProjectAdmin)}
	s.ursula = &guest{name: opentera.DemoProjectUser, who: "user of project 1", uuid: opentera.DemoProjectUserUUID, path: byPassword, authorization: basic(opentera.DemoProjectUser)}
	s.patient = &guest{who: "participant of project 1", path: "/api/participant/login"}
	var token string
	err := s.conn.QueryRow(s.ctx, `SELECT participant_name, participant_uuid, participant_token FROM t_participants
		WHERE id_project = 1 AND participant_enabled AND participant_token_enabled AND participant_token IS NOT NULL AND deleted_at IS NULL ORDER BY id_participant LIMIT 1`).
		Scan(&s.patient.name, &s.patient.uuid, &token)
	if err != nil {
		return fmt.Errorf("look for a participant: %w", err)
	}
	s.patient.authorization = "OpenTera " + token
	members := s.members()
	if _, err := s.conn.Exec(s.ctx, plan, session, members.Users, members.Participants); err != nil {
		return fmt.Errorf("plan a session: %w", err)
	}
	return s.there()
}

// redeem has all three log in at OpenTera and connect here.
func (s *demoStage) redeem() error {
	s.begin("log in at OpenTera; its ticket opens a socket here")
	s.began = time.Time{} // password checks take longest
	var last string
	for _, g := range s.guests() {
		url, err := g.logIn(s.ctx, s.login)
		if err != nil {
			return err
		}
		if err := g.enter(s.ctx, url); err != nil {
			return fmt.Errorf("the socket of %s: %w", g.name, err)
		}
		// a later guest receives nothing about earlier ones
		if err := s.until("OpenTera and "+g.name+" to know of it", patience, func() bool { return s.isOnline(g) && g.count() > 0 }); err != nil {
			return err
		}
		last = url
	}
	if err := s.end(map[*guest][]string{s.paul: {"USER_CONNECTED Paul", "USER_CONNECTED Ursula", "PARTICIPANT_CONNECTED "},
		s.ursula: {"USER_CONNECTED Ursula", "PARTICIPANT_CONNECTED "}, s.patient: {"PARTICIPANT_CONNECTED "}}); err != nil {
		return err
	}
	err := (&guest{}).enter(s.ctx, last)
	s.note("the same ticket again", fmt.Sprint(err), err != nil && strings.HasPrefix(err.Error(), "403"))
	_, err = s.paul.logIn(s.ctx, s.login)
	s.note("paul.project logs in at OpenTera once more", answerOf(err), err != nil && strings.Contains(err.Error(), "403"))
	return nil
}

// answerOf returns what follows the first colon of an error.
func answerOf(err error) string {
	if err == nil {
		return "200"
	}
	_, text, _ := strings.Cut(err.Error(), ": ")
	return text
}

func (s *demoStage) members() standin.Session {
	return standin.Session{UUID: session, Creator: "Paul Project", URL: "https://tera.example/webrtc/8080", Users: []string{s.paul.uuid, s.ursula.uuid}, Participants: []string{s.patient.uuid}}
}

// join has a service invite all three to a session.
func (s *demoStage) join() error {
	s.begin("a service of OpenTera invites all three to a session")
	if err := s.service.Join(s.ctx, s.members()); err != nil {
		return err
	}
	joined := []string{"JoinSessionEvent", "USER_JOINED_SESSION Paul", "USER_JOINED_SESSION Ursula", "PARTICIPANT_JOINED_SESSION "}
	return s.end(map[*guest][]string{s.paul: joined, s.ursula: joined, s.patient: {"JoinSessionEvent", "PARTICIPANT_JOINED_SESSION "}})
}

// busy has one of them decline.
func (s *demoStage) busy() error {
	s.begin("ursula.user answers that she is busy")
	left := s.members()
	left.Users = left.Users[:1]
	if err := s.service.Reply(s.ctx, left, s.ursula.uuid, pb.JoinSessionReplyEvent_REPLY_BUSY); err != nil {
		return err
	}
	const reply, leaves = "JoinSessionReplyEvent REPLY_BUSY", "USER_LEFT_SESSION Ursula"
	return s.end(map[*guest][]string{s.paul: {reply, leaves}, s.ursula: {leaves}, s.patient: {reply}})
}

// kick has one log out at OpenTera.
func (s *demoStage) kick() error {
	s.begin("ursula.user logs out at OpenTera")
	if _, err := call(s.ctx, s.login+"/api/user/logout", "OpenTera "+s.ursula.token); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	for range s.ursula.ends { // until closed
	}
	closed, _ := errors.AsType[*websocket.CloseError](s.ursula.closed)
	if err := s.until("OpenTera to know of it", patience, func() bool { return !s.isOnline(s.ursula) }); err != nil {
		return err
	}
	s.ursula.socket = nil
	if err := s.end(map[*guest][]string{s.paul: {"USER_DISCONNECTED Ursula"}, s.patient: {}}); err != nil {
		return err
	}
	s.note("her socket", fmt.Sprint(s.ursula.closed), closed != nil && closed.Code == 4000 && closed.Text == "CMD_CLIENT_DISCONNECT")
	return nil
}

// restart restarts OpenTera's server under the sockets.
func (s *demoStage) restart() error {
	s.begin("OpenTera's server restarts, and forgets the session; in between, the participant is renamed")
	s.began = time.Time{} // 2.2 s, as for the real one
	if err := s.manager.Stop(s.ctx); err != nil {
		return err
	}
	if _, err := s.conn.Exec(s.ctx, "UPDATE t_participants SET participant_name = participant_name || ' (new)' WHERE participant_uuid = $1", s.patient.uuid); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	s.manager.Start(s.ctx)
	if err := s.there(); err != nil {
		return err
	}
	back := time.Now()
	if err := s.until("OpenTera to know who is online", patience, func() bool { return s.isOnline(s.paul) && s.isOnline(s.patient) }); err != nil {
		return err
	}
	took := time.Since(back)
	if err := s.end(map[*guest][]string{s.paul: {"DB_UPDATE participant", "USER_LEFT_SESSION Paul", "PARTICIPANT_LEFT_SESSION "},
		s.patient: {"PARTICIPANT_LEFT_SESSION "}}); err != nil {
		return err
	}
	s.note("OpenTera knows of both sockets again", fmt.Sprintf("after %.1f s", took.Seconds()), true)
	_, err := call(s.ctx, s.login+"/api/user/refresh_token", "OpenTera "+s.paul.token)
	s.note("a token from before", fmt.Sprint(err), err != nil && strings.HasPrefix(err.Error(), "401"))
	url, err := s.ursula.logIn(s.ctx, s.login)
	if err == nil {
		err = s.ursula.enter(s.ctx, url)
	}
	s.note("ursula.user logs in at OpenTera again, and comes here", okay(err), err == nil)
	_, _ = fmt.Fprintln(s.w)
	return nil
}

func okay(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}

func (s *demoStage) isOnline(g *guest) bool {
	kind := "user"
	if g == s.patient {
		kind = "participant"
	}
	return slices.Contains(s.manager.Online(kind), g.uuid)
}

func (s *demoStage) begin(title string) {
	_, _ = fmt.Fprintln(s.w, title)
	s.began = time.Now()
}

// note prints one more line of a scene.
func (s *demoStage) note(what, got string, isRight bool) {
	mark := ""
	if !isRight {
		mark = "  <- WRONG"
		s.complaint = append(s.complaint, what+": "+got)
	}
	_, _ = fmt.Fprintf(s.w, "  %s: %s%s\n", what, got, mark)
}

// end waits until all have received everything of a scene, and prints it: each must have received frames that begin as wanted,
// and no others.
func (s *demoStage) end(wanted map[*guest][]string) error {
	for _, g := range s.guests() {
		if g.socket == nil {
			continue
		}
		if err := s.until("", 5*time.Second, func() bool { return g.count() >= len(wanted[g]) }); err != nil && s.ctx.Err() != nil {
			return err
		}
		// Redis delivers in order of publication: nothing of the scene follows this
		if err := s.service.Archive(s.ctx, &pb.ArchiveEvent{ArchiveUuid: g.uuid, OwnerUuid: g.uuid}); err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-time.After(patience):
			return fmt.Errorf("%s does not hear the end of a scene", g.name)
		case _, isOpen := <-g.ends:
			if !isOpen {
				return fmt.Errorf("the socket of %s was closed: %w", g.name, g.closed)
			}
		}
		var lines, heard []string
		for _, h := range g.take() {
			heard = append(heard, h.what)
			if !s.began.IsZero() {
				h.what += fmt.Sprintf(" %.1f ms", h.at.Sub(s.began).Seconds()*1000)
			}
			lines = append(lines, h.what)
		}
		mark := ""
		if !fits(heard, wanted[g]) {
			mark = "  <- WRONG"
			s.complaint = append(s.complaint, fmt.Sprintf("%s heard %q, not %q", g.name, heard, wanted[g]))
		}
		if len(lines) == 0 {
			lines = []string{"-"}
		}
		_, _ = fmt.Fprintf(s.w, "  %-44s%s%s\n", g.name+" ("+g.who+")", strings.Join(lines, ",\n"+strings.Repeat(" ", 46)), mark)
	}
	return nil
}

// fits reports whether heard and wanted match one to one, wanted being prefixes.
func fits(heard, wanted []string) bool {
	left := slices.Clone(wanted)
	for _, what := range heard {
		i := slices.IndexFunc(left, func(want string) bool { return strings.HasPrefix(what, want) })
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}
