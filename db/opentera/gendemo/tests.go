package main

import "fmt"

// testTypesOf lists the test types of each project.
var testTypesOf = map[int][]int{1: {1, 2, 3}, 2: {1, 3}, 4: {1, 2}, 5: {4}, 7: {1}}

var testNames = []string{1: "Évaluation avant la séance", 2: "Évaluation après la séance", 3: "Timed Up and Go", 4: "Sondage de satisfaction"}

func (d *demo) addTests() {
	kind := func(add func(string, ...any) int, service int, name string, description any, key string, web bool) {
		id := len(d.byName["t_tests_types"].rows) + 1
		add("t_tests_types", service, uuid("test type", id), name, description, key, true, web, false)
	}
	kind(d.add, videoRehab, testNames[1], "Douleur, fatigue et humeur de 0 à 10", "pre_session", true)
	kind(d.add, videoRehab, testNames[2], nil, "post_session", true)
	kind(d.add, videoRehab, testNames[3], "Temps pour se lever, marcher 3 m et se rasseoir, en secondes", "tug", false)
	kind(d.add, email, testNames[4], nil, "satisfaction", true)
	kind(d.addDeleted, videoRehab, "Ancien questionnaire", nil, "old_survey", false)

	for t, sites := range [][]int{1: {1, 2, 3}, 2: {1, 2}, 3: {1}, 4: {2}} {
		for _, s := range sites {
			d.add("t_tests_types_sites", t, s)
		}
	}
	for project := 1; project <= 8; project++ {
		for _, t := range testTypesOf[project] {
			d.add("t_tests_types_projects", t, project)
		}
	}
	d.addDeleted("t_tests_types_projects", 2, 7)

	for _, s := range d.sessions {
		types := testTypesOf[s.project]
		if s.status != completed || len(types) == 0 || len(s.participants) == 0 || s.id%3 == 2 {
			continue
		}
		t := types[s.id%len(types)]
		d.addTest(d.add, s, t, 2)
	}
	d.addTest(d.addDeleted, d.sessions[0], 1, 0)
	d.addInvitations()
}

func (d *demo) addTest(add func(string, ...any) int, s session, kind, status int) {
	id := len(d.byName["t_tests"].rows) + 1
	summary := any(fmt.Sprintf(`{"pain": %d, "fatigue": %d}`, s.id%5, s.id%7))
	if kind == 3 {
		summary = fmt.Sprintf(`{"seconds": %d.%d}`, 9+s.id%8, s.id%10)
	}
	if id%6 == 0 {
		status = 1
	}
	if status != 2 {
		summary = nil
	}
	add("t_tests", kind, s.id, nil, s.participants[0], nil, nil, uuid("test", id), testNames[kind],
		day(s.day, s.hour, s.minute+15), status, summary)
}

func (d *demo) addInvitations() {
	invite := func(add func(string, ...any) int, kind int, session, user, participant, device any, project, used, days int, message any) {
		id := len(d.byName["t_tests_invitations"].rows) + 1
		key := uuid("test invitation", id)
		add("t_tests_invitations", kind, session, user, participant, device, project, key[:8]+key[9:13]+key[24:28], 1+used, used,
			day(-3, 8, 30), day(days, 23, 59), message)
	}
	invite(d.add, 1, 1, nil, 1, nil, 1, 0, 14, "Merci de répondre avant votre séance.")
	invite(d.add, 2, nil, nil, 61, nil, 4, 1, 14, nil)
	invite(d.add, 3, nil, 9, nil, nil, 1, 0, 7, nil)
	invite(d.add, 1, nil, nil, nil, d.devicesOf[2][0], 2, 0, 30, nil)
	invite(d.add, 4, nil, nil, 82, nil, 5, 2, 21, "Votre avis compte.")
	invite(d.add, 1, nil, nil, 104, nil, 7, 0, -1, nil) // expired
	invite(d.addDeleted, 1, nil, nil, 2, nil, 1, 0, 14, nil)
}

func (d *demo) addServiceConfigs() {
	c := d.add("t_services_configs", videoRehab, 7, nil, nil, `{"camera": "default", "mirror": true}`)
	d.add("t_services_configs_specifics", c, "bureau-414", `{"camera": "Caméra PTZ"}`)
	c = d.add("t_services_configs", videoRehab, nil, 1, nil, `{"subtitles": true}`)
	d.add("t_services_configs_specifics", c, "tablette-salon", `{"volume": 100}`)
	d.add("t_services_configs", videoRehab, nil, nil, 1, `{"quality": "720p"}`)
	d.addDeleted("t_services_configs", email, 8, nil, nil, `{}`)
}
