package main

import "fmt"

// ids of t_devices_types
const (
	videoConference = iota + 1
	sensor
	robot
	activeDesk
	camera
)

// deviceModel is one subtype; id_device_subtype is its index.
type deviceModel struct {
	kind       int
	name       string
	onlineable bool
}

var deviceModels = []deviceModel{
	1: {videoConference, "Kit TeraPlus", true},
	2: {sensor, "Montre Fitbit", false},
	3: {sensor, "Centrale OpenIMU", false},
	4: {robot, "T-Top", true},
	5: {robot, "Beam Pro", true},
	6: {activeDesk, "Bureau modèle #1", true},
	7: {camera, "Caméra PTZ", true},
}

const (
	aliveDevices = 30
	sharedDevice = 12 // lent by site 1 to site 2
)

// siteOfDevice returns the site of a device: 12 devices at site 1, 10 at site 2, 6 at site 3; the last two registered themselves and
// await approval.
func siteOfDevice(id int) int {
	switch {
	case id <= 12:
		return 1
	case id <= 22:
		return 2
	case id <= 28:
		return 3
	}
	return 0
}

func (d *demo) addDevices() {
	d.add("t_devices_types", "Vidéoconférence", "videoconference")
	d.add("t_devices_types", "Capteur", "capteur")
	d.add("t_devices_types", "Robot", "robot")
	d.add("t_devices_types", "Bureau actif", "bureau_actif")
	d.add("t_devices_types", "Caméra", "camera")
	for _, m := range deviceModels[1:] {
		d.add("t_devices_subtypes", m.kind, m.name)
	}
	for id := 1; id <= aliveDevices; id++ {
		d.addDevice(d.add, id)
		site := siteOfDevice(id)
		if site == 0 {
			continue
		}
		d.add("t_devices_sites", id, site)
		if id%4 == 0 {
			continue // of the site, in no project
		}
		project := map[int][]int{1: {1, 2, 3}, 2: {4, 5}, 3: {7, 8}}[site]
		p := project[(id-1)%len(project)]
		d.add("t_devices_projects", id, p)
		if deviceEnabled(id) {
			d.devicesOf[p] = append(d.devicesOf[p], id)
			if id%2 == 1 || id == 2 {
				home := d.participantsOf[p]
				d.add("t_devices_participants", id, home[id%len(home)])
			}
		}
	}
	d.add("t_devices_sites", sharedDevice, 2)
	d.add("t_devices_participants", 1, 1)
	d.add("t_devices_participants", 7, 1)
	d.addDeleted("t_devices_participants", 2, 1)

	d.addDevice(d.addDeleted, aliveDevices+1)
	d.addDeleted("t_devices_sites", aliveDevices+1, 1)
	d.addDeleted("t_devices_projects", aliveDevices+1, 1)
	d.addDeleted("t_devices_sites", 5, 3) // came back from Québec
}

func deviceEnabled(id int) bool { return siteOfDevice(id) != 0 && id != 11 }

func (d *demo) addDevice(add func(string, ...any) int, id int) {
	model := 1 + (id-1)%(len(deviceModels)-1)
	m := deviceModels[model]
	name := fmt.Sprintf("%s %02d", m.name, id)
	var config, infos, notes, online any
	if m.kind == videoConference {
		config = `{"resolution": "1280x720", "volume": 80}`
	}
	if m.kind == sensor {
		infos = "Charger toutes les nuits"
	}
	if id == 11 {
		notes = "En réparation"
	}
	if siteOfDevice(id) == 0 && id <= aliveDevices {
		notes = "Enregistré par l'appareil, à approuver"
	}
	if deviceEnabled(id) && id%3 != 0 {
		online = day(-id%6, 7+id%12, id*13%60)
	}
	device := uuid("device", id)
	add("t_devices", device, name, m.kind, model, staticToken(deviceKey, "device", id, device), nil,
		deviceEnabled(id), m.onlineable, config, infos, notes, online)
}
