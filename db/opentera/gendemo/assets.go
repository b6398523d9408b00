package main

import "fmt"

// addAssets adds recordings of VideoRehabService to the projects that have it, and files of FileTransferService elsewhere.
func (d *demo) addAssets() {
	hasVideo := map[int]bool{1: true, 2: true, 4: true, 7: true, 8: true}
	hasFiles := map[int]bool{1: true, 4: true, 5: true}
	n := 0
	for _, s := range d.sessions {
		if s.status != completed {
			continue
		}
		if hasVideo[s.project] && len(s.users) > 0 {
			n++
			d.addAsset(d.add, n, s, asset{service: videoRehab}, videoRehab, fmt.Sprintf("seance-%02d.webm", s.id), "video/webm")
		}
		if !hasFiles[s.project] {
			continue
		}
		switch {
		case len(s.devices) > 0:
			n++
			d.addAsset(d.add, n, s, asset{device: s.devices[0]}, fileTransfer, fmt.Sprintf("capteur-%02d.csv", s.id), "text/csv")
		case s.id%3 == 0:
			n++
			d.addAsset(d.add, n, s, asset{participant: s.participants[0]}, fileTransfer, fmt.Sprintf("journal-%02d.pdf", s.id), "application/pdf")
		case len(s.users) > 0:
			n++
			d.addAsset(d.add, n, s, asset{user: s.users[0]}, fileTransfer, fmt.Sprintf("notes-%02d.pdf", s.id), "application/pdf")
		}
	}
	d.addAsset(d.addDeleted, n+1, d.sessions[0], asset{user: 7}, fileTransfer, "mauvais-fichier.pdf", "application/pdf")
}

// asset holds the owner of an asset: one of the four columns is set.
type asset struct{ device, participant, user, service any }

func (d *demo) addAsset(add func(string, ...any) int, n int, s session, a asset, service int, name, kind string) {
	var expires any
	if kind == "video/webm" {
		expires = day(s.day+365, 0, 0)
	}
	add("t_assets", s.id, a.device, a.participant, a.user, a.service, name, uuid("asset", n), serviceUUID(service), kind,
		day(s.day, s.hour, s.minute+14), expires)
}
