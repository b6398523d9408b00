package main

import (
	"fmt"
	"strings"
)

// participantsIn[p] is the number of living participants in project p: 120 in all.
var participantsIn = []int{1: 24, 2: 20, 3: 16, 4: 20, 5: 14, 6: 8, 7: 10, 8: 8}

// disabledProject has project_enabled false, which disables its participants.
const disabledProject = 6

func (d *demo) addParticipants() {
	groupsOf := map[int][]int{}
	for _, g := range []struct {
		project int
		name    string
	}{
		{1, "Phase aiguë"}, {1, "Phase chronique"}, {2, "Intervention"}, {2, "Témoin"}, {3, "Cohorte 2026"},
		{4, "Tango thérapeutique"}, {6, "6 à 9 ans"}, {7, "Groupe du mardi"}, {8, "Arm A"}, {8, "Arm B"},
	} {
		groupsOf[g.project] = append(groupsOf[g.project], d.add("t_participants_groups", g.project, g.name))
	}
	d.addDeleted("t_participants_groups", 5, "Essai annulé")

	names := d.names(123)
	for project, n := range participantsIn {
		for i := range n {
			var group any
			if g := groupsOf[project]; len(g) > 0 && i%3 != 2 {
				group = g[i%len(g)]
			}
			d.addParticipant(d.add, names, project, group)
		}
	}
	d.addParticipant(d.addDeleted, names, 1, groupsOf[1][0])
	d.addParticipant(d.addDeleted, names, 5, nil)
	d.addParticipant(d.addDeleted, names, 9, nil)
}

func (d *demo) addParticipant(add func(string, ...any) int, names []string, project int, group any) {
	id := len(d.byName["t_participants"].rows) + 1
	name := names[id-1]
	var username, mail, password, token, online any
	enabled := project != disabledProject && project != 9
	login := id%6 == 1 && enabled
	hasToken := id%4 == 1
	switch id {
	case 1:
		name, username = "Lucie Gingras", "lucie.patient"
	case 3:
		name, username, login, enabled = "Denise Huot", "denise.disabled", true, false
	case 61:
		name, username = "René Charbonneau", "rene.patient"
	}
	if login && username == nil {
		username = ascii.Replace(strings.ToLower(strings.ReplaceAll(name, " ", ".")))
	}
	if login {
		mail, password = fmt.Sprint(username, "@courriel.example"), passwords[id%len(passwords)]
	}
	if hasToken {
		token = staticToken(participantKey, "participant", id, uuid("participant", id))
	}
	if id%3 == 1 && enabled {
		online = day(-1-id%14, 9+id%8, id*11%60)
	}
	add("t_participants", uuid("participant", id), name, username, mail, password, hasToken && id%12 != 5, token,
		online, enabled, login, group, project)
	d.participantNames[id] = name
	if enabled && id <= 120 {
		d.participantsOf[project] = append(d.participantsOf[project], id)
	}
}

// names returns n different full names.
func (d *demo) names(n int) []string {
	first, last := strings.Fields(firstNames), strings.Split(strings.ReplaceAll(strings.TrimSpace(lastNames), "\n", ","), ",")
	seen := map[string]bool{}
	var names []string
	for len(names) < n {
		name := first[d.random.IntN(len(first))] + " " + strings.TrimSpace(last[d.random.IntN(len(last))])
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	return names
}

const firstNames = `
Adélard Agathe Aline Alphonse André Angèle Armand Aurore Bernadette Bertrand Blanche Camille Carmen Cécile Charles
Colette Conrad Diane Donat Édith Émile Estelle Étienne Fernand Florence François Françoise Gaétan Georges Germaine
Ghislaine Gilles Ginette Guy Henri Huguette Irène Jacqueline Jeannine Joséphine Laurent Léo Lorraine Lucien
Madeleine Marcel Marguerite Maurice Michel Micheline Monique Normand Odette Pauline Pierre Raymond Réjean Rita
Robert Roger Rolande Solange Suzanne Thérèse Yolande Yvan Yvette Aisha Boris Chen Dimitri Elena Farid Giovanna Hassan
Ingrid Joao Kateri Kwame Lakshmi Margaret Mei Mikael Nadia Patrick Quang Rosa Samuel Tanya Umberto Vera Wanda Yuki`

const lastNames = `
Allard, Arsenault, Audet, Beaudoin, Bédard, Bergeron, Bernier, Bilodeau, Blais, Boucher, Brassard, Brunet, Bujold
Cardinal, Champagne, Cloutier, Comeau, D'Amours, Demers, Deschênes, Drouin, Dufour, Duguay, Fournier, Gendron, Gosselin
Hamel, Houle, Jutras, L'Heureux, Labrecque, Lachance, Lapointe, Larouche, Leblanc, Légaré, Lévesque, Ménard, Michaud
Normandeau, Parent, Perreault, Plourde, Proulx, Rancourt, Savard, Simard, St-Pierre, Thériault, Turcotte, Vachon, Vézina
Awashish, Baptiste, Castonguay-Ali, El Amrani, Fitzgerald, García, Ivanova, Kim, Moreau-Singh, Okafor, Papadopoulos, Petrov
Rossi, Silva, Tran, Van der Meer, Wong, Yamamoto`
