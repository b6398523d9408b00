package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

const (
	deviceKey      = "rT4kQz8WmV2cXy6PbN1sLd9HfG3jJa7E" // TokenEncryptionKey
	participantKey = "Zp5uYw0KtR8eQm3VxC6nBd1LhS9gFa2J" // ParticipantTokenEncryptionKey
)

func (d *demo) addServerSettings() {
	d.add("t_server_settings", "TokenEncryptionKey", deviceKey)
	d.add("t_server_settings", "ParticipantTokenEncryptionKey", participantKey)
	d.add("t_server_settings", "DeviceRegisterKey", "kP3vT9xQ2m")
	d.add("t_server_settings", "ServerUUID", uuid("server", 1))
	d.add("t_server_settings", "ServerVersions", `{"version_string": "1.3.0", "version_major": 1, "version_minor": 3, "version_patch": 0, "clients": {}}`)
}

// staticToken returns OpenTera's static token of a participant or device: a JWT (HS256) that never expires.
func staticToken(key, kind string, id int, principal string) string {
	enc := base64.RawURLEncoding
	claims := fmt.Sprintf(`{"iss":"TeraServer","jti":"%s","%s_uuid":"%s","id_%s":%d}`, uuid(kind+" token", id), kind, principal, kind, id)
	text := enc.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + enc.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + enc.EncodeToString(mac.Sum(nil))
}

func (d *demo) addSites() {
	d.add("t_sites", "Centre de réadaptation de l'Estrie", false)
	d.add("t_sites", "Hôpital des Laurentides", false)
	d.add("t_sites", "Clinique universitaire de Québec", false)

	d.add("t_projects", 1, "Télé-AVC", true, "Réadaptation à domicile après un accident vasculaire cérébral")
	d.add("t_projects", 1, "Équilibre 65+", true, "Prévention des chutes par l'exercice supervisé")
	d.add("t_projects", 1, "Cardio à domicile", true, nil)
	d.add("t_projects", 2, "Parkinson en mouvement", true, "Tango et marche rythmée à distance")
	d.add("t_projects", 2, "Douleur chronique", true, nil)
	d.add("t_projects", 2, "Pédiatrie virtuelle", false, "Suspendu pendant la révision éthique")
	d.add("t_projects", 3, "Aphasie et langage", true, "Orthophonie en vidéo, individuelle et en groupe")
	d.add("t_projects", 3, "COPD Remote Care", true, "Pulmonary rehabilitation, English-speaking cohort")
	d.addDeleted("t_projects", 1, "Projet pilote 2019", false, nil)
}

// ids of the services
const (
	openTera = iota + 1
	logging
	fileTransfer
	email
	videoRehab
)

// serviceUUID returns the target of asset_service_uuid.
func serviceUUID(id int) string {
	if id == openTera {
		return "00000000-0000-0000-0000-000000000001"
	}
	return uuid("service", id)
}

func (d *demo) addServices() {
	service := func(name, key string, port int, path string, user, participant any, editable, assets, tests bool) {
		id := len(d.byName["t_services"].rows) + 1
		d.add("t_services", serviceUUID(id), name, key, "localhost", port, "/", path, user, participant, nil,
			true, true, editable, "{}", assets, tests)
	}
	service("OpenTera Server", "OpenTeraServer", 4040, "/", nil, nil, false, false, false)
	service("Logging Service", "LoggingService", 4041, "/log", nil, nil, false, false, false)
	service("File Transfer Service", "FileTransferService", 4042, "/file", nil, nil, false, true, false)
	service("Email Service", "EmailService", 4043, "/email", "/user", nil, true, false, true)
	service("Video Rehabilitation Service", "VideoRehabService", 4070, "/rehab", "/user", "/participant", true, true, true)

	for site, services := range [][]int{1: {logging, fileTransfer, videoRehab}, 2: {fileTransfer, email, videoRehab}, 3: {videoRehab}} {
		for _, s := range services {
			d.add("t_services_sites", s, site)
		}
	}
	for project, services := range [][]int{
		1: {fileTransfer, videoRehab}, 2: {videoRehab}, 4: {fileTransfer, videoRehab},
		5: {fileTransfer, email}, 7: {videoRehab}, 8: {videoRehab},
	} {
		for _, s := range services {
			d.add("t_services_projects", s, project)
		}
	}
	d.addDeleted("t_services_projects", videoRehab, 3) // removed from Cardio à domicile

	role := func(service int, project, site any, name string) int {
		return d.add("t_services_roles", service, project, site, name)
	}
	for s := logging; s <= videoRehab; s++ { // 1..8: global roles
		role(s, nil, nil, "admin")
		role(s, nil, nil, "user")
	}
	for site := 1; site <= 3; site++ { // 9..14
		role(openTera, nil, site, "admin")
		role(openTera, nil, site, "user")
	}
	for project := 1; project <= 8; project++ { // 15..30
		role(openTera, project, nil, "admin")
		role(openTera, project, nil, "user")
	}
	role(videoRehab, 2, nil, "manager") // 31
	role(videoRehab, nil, 3, "admin")   // 32
	d.addDeleted("t_services_roles", openTera, 9, nil, "admin")
	d.addDeleted("t_services_roles", openTera, 9, nil, "user")
}

// ids of t_services_roles, as numbered by addServices
const (
	loggingAdmin    = 1
	videoRehabUser  = 8
	projectManager  = 31
	siteVideoAdmin  = 32
	deletedRoleUser = 34
)

func siteAdmin(site int) int       { return 9 + 2*(site-1) }
func siteUser(site int) int        { return 10 + 2*(site-1) }
func projectAdmin(project int) int { return 15 + 2*(project-1) }
func projectUser(project int) int  { return 16 + 2*(project-1) }
