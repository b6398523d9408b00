package main

import "strings"

// passwords are two bcrypt hashes of "terasocket-demo", 12 rounds, in passlib's ident.
var passwords = []string{
	"$2b$12$9BqV8zxdGRr2pN8UpqG2burWS8fG3kau90Y130eghbfm2h07/kc06",
	"$2b$12$zJxALYvxqdfuN8hth5ZaOujm./I1M..ZmSENb7W5N7unCPFy1gyYa",
}

// ids of t_users_groups
const (
	estrieAdmins = iota + 1
	estrieStaff
	laurentidesAdmins
	quebecVisitors
	strokeLeads
	strokeTherapists
	balanceCardioTherapists
	parkinsonTeam
	painTherapists
	quebecTeam
	videoManagers
	videoAdmins
	formerTeam // soft-deleted
)

// groupRoles lists the roles (ids of t_services_roles) of each group.
var groupRoles = [][]int{
	estrieAdmins:            {siteAdmin(1), loggingAdmin},
	estrieStaff:             {siteUser(1)},
	laurentidesAdmins:       {siteAdmin(2)},
	quebecVisitors:          {siteUser(3)},
	strokeLeads:             {projectAdmin(1)},
	strokeTherapists:        {projectUser(1), videoRehabUser},
	balanceCardioTherapists: {projectUser(2), projectUser(3)},
	parkinsonTeam:           {projectAdmin(4), projectUser(5)},
	painTherapists:          {projectUser(5)},
	quebecTeam:              {projectUser(7), projectAdmin(8)},
	videoManagers:           {projectManager},
	videoAdmins:             {siteVideoAdmin},
}

// groupProjects lists the projects in which the members of a group treat people.
var groupProjects = [][]int{
	strokeLeads: {1}, strokeTherapists: {1}, balanceCardioTherapists: {2, 3},
	parkinsonTeam: {4, 5}, painTherapists: {5}, quebecTeam: {7, 8}, formerTeam: {},
}

type user struct {
	username, first, last string
	groups                []int
}

// users by id, from 1. Users that people log in as are named after their role.
var users = []user{
	{"admin", "Sylvie", "Tremblay", nil},
	{"marc.super", "Marc-André", "Gagnon", nil},
	{"claire.site", "Claire", "Bouchard", []int{estrieAdmins}},
	{"louis.site", "Louis", "Desrochers", []int{laurentidesAdmins}},
	{"simon.siteuser", "Simon", "Pelletier", []int{estrieStaff}},
	{"sofia.siteuser", "Sofia", "Marchetti", []int{quebecVisitors}},
	{"paul.project", "Paul", "Lavoie", []int{strokeLeads}},
	{"patricia.project", "Patricia", "Nguyen", []int{parkinsonTeam}},
	{"ursula.user", "Ursula", "Côté", []int{strokeTherapists}},
	{"ulysse.user", "Ulysse", "Fortin", []int{painTherapists}},
	{"maria.manager", "María", "Hernández", []int{videoManagers}},
	{"victor.videorehab", "Victor", "O'Neil", []int{videoAdmins}},
	{"nora.norole", "Nora", "Bélanger", nil},
	{"didier.disabled", "Didier", "Caron", []int{strokeTherapists}},
	{"otto.otp", "Otto", "Lindqvist", []int{strokeTherapists}},
	{"fatou.force", "Fatou", "Diallo", []int{quebecTeam}},
	{"greta.groups", "Greta", "Roy", []int{strokeTherapists, painTherapists}},
	{"", "Annie", "Thibault", []int{estrieAdmins}},
	{"", "Benoît", "Gauthier", []int{estrieStaff}},
	{"", "Caroline", "Mercier", []int{estrieStaff}},
	{"", "Éric", "Poulin", []int{estrieStaff}},
	{"", "Hélène", "Vaillancourt", []int{quebecVisitors}},
	{"", "Jean-Philippe", "Morin", []int{strokeLeads}},
	{"", "Karine", "Lefebvre", []int{strokeTherapists}},
	{"", "Amir", "Haddad", []int{strokeTherapists}},
	{"", "Li", "Wei", []int{strokeTherapists}},
	{"", "Geneviève", "Paquette", []int{strokeTherapists}},
	{"", "Martin", "Beaulieu", []int{balanceCardioTherapists}},
	{"", "Noémie", "Girard", []int{balanceCardioTherapists}},
	{"", "Olivier", "Ouellet", []int{balanceCardioTherapists, strokeTherapists}},
	{"", "Priya", "Raman", []int{balanceCardioTherapists}},
	{"", "Rachel", "Cohen", []int{parkinsonTeam}},
	{"", "Stéphane", "Lemieux", []int{parkinsonTeam}},
	{"", "Tomasz", "Kowalski", []int{painTherapists}},
	{"", "Valérie", "Boisvert", []int{painTherapists}},
	{"", "William", "MacDonald", []int{quebecTeam}},
	{"", "Xavier", "Dubé", []int{quebecTeam}},
	{"", "Yasmine", "Benali", []int{quebecTeam}},
	{"", "Zoé", "Archambault", []int{videoManagers}},
	{"", "Jacques", "Nadeau", nil},
	{"gaston.gone", "Gaston", "Rivard", []int{strokeTherapists}},
	{"lise.gone", "Lise", "Charron", []int{formerTeam}},
}

const aliveUsers = 40

func (d *demo) addUsers() {
	for _, name := range []string{
		"Administration Estrie", "Personnel Estrie", "Administration Laurentides", "Visiteurs Québec",
		"Responsables Télé-AVC", "Thérapeutes Télé-AVC", "Thérapeutes Équilibre et Cardio", "Équipe Parkinson",
		"Thérapeutes Douleur chronique", "Équipe Québec", "Gestion VideoRehab", "Administration VideoRehab Québec",
	} {
		d.add("t_users_groups", name)
	}
	d.addDeleted("t_users_groups", "Ancienne équipe Cardio")

	for i, u := range users {
		id := i + 1
		if u.username == "" {
			u.username = ascii.Replace(strings.ToLower(u.first + "." + u.last))
		}
		d.userNames[id] = u.first + " " + u.last
		add, enabled := d.add, true
		if id > aliveUsers {
			add, enabled = d.addDeleted, false
		}
		enabled = enabled && u.username != "didier.disabled"
		otp := u.username == "otto.otp"
		var secret, notes, online any
		if otp {
			secret = "JBSWY3DPEHPK3PXP"
		}
		if u.username == "nora.norole" {
			notes = "En attente d'une affectation"
		}
		if enabled && id%5 != 3 {
			online = day(-1-id%9, 8+id%9, id*7%60)
		}
		add("t_users", u.username, uuid("user", id), u.username+"@reseau-tr.example", u.first, u.last,
			passwords[id%len(passwords)], enabled, `{"language": "fr"}`, notes, online, id <= 2,
			otp, otp, false, secret, u.username == "fatou.force")
		for _, g := range u.groups {
			if id > aliveUsers {
				d.addDeleted("t_users_users_groups", id, g)
				continue
			}
			d.add("t_users_users_groups", id, g)
			if enabled && g < len(groupProjects) {
				for _, p := range groupProjects[g] {
					d.therapistsOf[p] = append(d.therapistsOf[p], id)
				}
			}
		}
	}
	// Simon left the stroke leads: a soft-deleted link row.
	d.addDeleted("t_users_users_groups", 5, strokeLeads)

	d.add("t_users_preferences", 1, "openteraplus", `{"language": "fr", "notify_sounds": true}`)
	d.add("t_users_preferences", 7, "openteraplus", `{"language": "fr", "notify_sounds": false}`)
	d.add("t_users_preferences", 36, "openteraplus", `{"language": "en", "notify_sounds": true}`)
}

// addAccess gives the groups their roles. Devices and participant groups may have roles too, without effect on who sees what.
func (d *demo) addAccess() {
	for g, roles := range groupRoles {
		for _, r := range roles {
			d.add("t_services_access", g, nil, nil, r)
		}
	}
	d.add("t_services_access", nil, 1, nil, videoRehabUser)
	d.add("t_services_access", nil, nil, 1, projectUser(1))
	d.addDeleted("t_services_access", formerTeam, nil, nil, projectUser(3))
	d.addDeleted("t_services_access", formerTeam, nil, nil, deletedRoleUser)
	d.addDeleted("t_services_access", quebecVisitors, nil, nil, projectAdmin(7))
}

// ascii folds the accents of the names above.
var ascii = strings.NewReplacer("é", "e", "è", "e", "ê", "e", "ë", "e", "à", "a", "â", "a", "ç", "c", "î", "i", "ï", "i",
	"í", "i", "á", "a", "ô", "o", "ö", "o", "ó", "o", "ñ", "n", "û", "u", "ü", "u", "'", "", " ", "-")
