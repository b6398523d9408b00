package main

import "fmt"

// sessionTypesOf lists the session types of each project.
var sessionTypesOf = map[int][]int{1: {1, 2, 3}, 2: {1, 5, 4}, 3: {3}, 4: {1, 2}, 5: {3, 6}, 7: {1}, 8: {1}}

// session statuses, and types of t_sessions_events
const (
	notStarted = iota
	inProgress
	completed
	cancelled
	terminated
)
const (
	eventStart      = 3
	eventStop       = 4
	eventLowBattery = 7
	eventJoin       = 12
	eventLeave      = 13
	eventRefused    = 14
)

// session is what later tables need from a row of t_sessions.
type session struct {
	id, project, status          int
	day, hour, minute            int
	users, participants, devices []int
}

func (d *demo) addTypes() {
	kind := func(service any, name string, online bool, color string, category int) {
		d.add("t_sessions_types", service, name, online, "", color, category)
	}
	kind(videoRehab, "Téléréadaptation vidéo", true, "#0A7EA4", 1)
	kind(videoRehab, "Rencontre de groupe", true, "#6A4C93", 1)
	kind(nil, "Données de capteurs", false, "#2A9D8F", 2)
	kind(nil, "Envoi de fichiers", false, "#E9C46A", 3)
	kind(nil, "Protocole d'exercices", false, "#E76F51", 4)
	kind(fileTransfer, "Transfert sécurisé", false, "#264653", 1)
	d.addDeleted("t_sessions_types", nil, "Suivi téléphonique", false, "", "#999999", 2)

	for t, sites := range [][]int{1: {1, 2, 3}, 2: {1, 2}, 3: {1, 2}, 4: {1}, 5: {1}, 6: {2}} {
		for _, s := range sites {
			d.add("t_sessions_types_sites", t, s)
		}
	}
	d.addDeleted("t_sessions_types_sites", 2, 3)
	for project := 1; project <= 8; project++ {
		for _, t := range sessionTypesOf[project] {
			d.add("t_sessions_types_projects", t, project)
		}
	}
	d.add("t_sessions_types_services", 1, fileTransfer)
	d.add("t_sessions_types_services", 2, fileTransfer)
	d.add("t_sessions_types_services", 5, videoRehab)
}

// addSessions adds one a day until today, and some today and in the coming days. The first 57 follow a pattern; 58 to 60 are special
// cases, 61 and 62 are deleted.
func (d *demo) addSessions() {
	projects := []int{1, 2, 4, 1, 5, 7, 3, 1, 4, 8, 2, 5}
	for k := range 57 {
		p := projects[k%len(projects)]
		types := sessionTypesOf[p]
		s := session{project: p, day: k - 52, hour: 9 + k%8, minute: k % 4 * 15, status: statusOf(k)}
		kind := types[k/len(projects)%len(types)]
		s.participants = d.pick(d.participantsOf[p], 1+k%2)
		if kind == 2 {
			s.participants = d.pick(d.participantsOf[p], 4)
		}
		therapist := d.pick(d.therapistsOf[p], 1)[0]
		s.users = []int{therapist}
		if kind == 3 || k%3 == 0 {
			s.devices = d.pick(d.devicesOf[p], 1)
		}
		creator := creator{user: therapist}
		switch {
		case k%12 == 6: // started by the sensor itself
			creator, s.users = creatorDevice(s.devices[0]), nil
		case k%12 == 9:
			creator.user, creator.participant = nil, s.participants[0]
		case k%12 == 10:
			creator.user, creator.service = nil, videoRehab
		case k%12 == 5: // planned by someone who does not take part
			creator.user = d.therapistsOf[p][0]
			s.users = []int{d.therapistsOf[p][len(d.therapistsOf[p])-1]}
		}
		d.addSession(d.add, s, kind, creator, fmt.Sprintf("Séance %d", k+1))
	}
	today := session{hour: 16, status: notStarted}
	// 58: staff only, so associated with no project.
	staff := today
	staff.project, staff.day, staff.users = 1, 1, []int{3, 7, 9}
	d.addSession(d.add, staff, 1, creator{user: 3}, "Réunion clinique")
	// 59: participants of two projects of two sites.
	joint := today
	joint.project, joint.day, joint.users, joint.participants = 1, 2, []int{9, 8}, []int{2, 62}
	d.addSession(d.add, joint, 2, creator{user: 9}, "Atelier commun Estrie-Laurentides")
	// 60: only a device.
	alone := today
	alone.project, alone.day, alone.hour, alone.status, alone.devices = 3, -1, 2, completed, []int{d.devicesOf[3][0]}
	d.addSession(d.add, alone, 3, creatorDevice(alone.devices[0]), "Mesure nocturne")

	for i := range 2 {
		gone := session{project: 1 + i, day: -30 - i, hour: 10, status: cancelled, users: []int{9}, participants: []int{4 + i*22}}
		d.addSession(d.addDeleted, gone, 1, creator{user: 9}, "Séance saisie par erreur")
	}
	// Ursula was removed from the first session.
	d.addDeleted("t_sessions_users", 1, 9)
}

func statusOf(k int) int {
	switch {
	case k > 54:
		return notStarted
	case k > 51:
		return inProgress
	case k%11 == 3:
		return cancelled
	case k%13 == 5:
		return terminated
	}
	return completed
}

// creator holds the creator of a session: one of the four columns is set.
type creator struct{ user, device, participant, service any }

func creatorDevice(id int) creator { return creator{device: id} }

func (d *demo) addSession(add func(string, ...any) int, s session, kind int, c creator, name string) {
	if s.status == inProgress {
		s.day = 0
	}
	id := len(d.byName["t_sessions"].rows) + 1
	seconds := 0
	if s.status == completed || s.status == terminated {
		seconds = 1500 + id*97%2100
	}
	var comments, parameters any
	if id%7 == 0 {
		comments = "Bonne participation, fatigue légère en fin de séance"
	}
	if kind == 5 {
		parameters = `{"repetitions": 12, "rest": 45}`
	}
	s.id = add("t_sessions", uuid("session", id), kind, c.user, c.device, c.participant, c.service, name,
		day(s.day, s.hour, s.minute), seconds, s.status, comments, parameters)
	for _, u := range s.users {
		add("t_sessions_users", s.id, u)
	}
	for _, p := range s.participants {
		add("t_sessions_participants", s.id, p)
	}
	for _, v := range s.devices {
		add("t_sessions_devices", s.id, v)
	}
	d.addSessionEvents(add, s)
	if s.id <= 60 {
		d.sessions = append(d.sessions, s)
	}
}

func (d *demo) addSessionEvents(add func(string, ...any) int, s session) {
	event := func(kind, after int, text any) {
		add("t_sessions_events", s.id, kind, day(s.day, s.hour, s.minute+after), text, nil)
	}
	if s.status == notStarted || s.status == cancelled {
		if s.status == cancelled && len(s.participants) > 0 {
			event(eventRefused, 0, d.participantNames[s.participants[0]])
		}
		return
	}
	event(eventStart, 0, nil)
	for _, u := range s.users {
		event(eventJoin, 1, d.userNames[u])
	}
	for _, p := range s.participants {
		event(eventJoin, 2, d.participantNames[p])
	}
	if len(s.devices) > 0 && s.id%4 == 0 {
		event(eventLowBattery, 9, "18 %")
	}
	if s.status == inProgress {
		return
	}
	for _, p := range s.participants {
		event(eventLeave, 13, d.participantNames[p])
	}
	event(eventStop, 14, nil)
}

// pick returns n distinct elements of from, or all of them.
func (d *demo) pick(from []int, n int) []int {
	var picked []int
	for _, i := range d.random.Perm(len(from))[:min(n, len(from))] {
		picked = append(picked, from[i])
	}
	return picked
}
