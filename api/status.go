package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"
)

// DeviceStatus stores and announces the status that an online device reports, as JSON text; isOnline is false if it is not
// online. Errors: the database's.
type DeviceStatus interface {
	SetStatus(ctx context.Context, id int32, status string, at float64) (isOnline bool, err error)
}

// maxStatusBody keeps the event for a status far below the frame limit.
const (
	maxStatusBody  = 64 << 10
	statusBodyTime = 10 * time.Second // for the body to arrive
)

// deviceStatus answers POST /api/device/status of a device (see device). Body: {"status": {...}, "timestamp": 1.5}.
//
//	200 {"uuid": "...", "status": "{...}", "timestamp": 1.5}: the status is stored, and announced to those who may see
//	400 "Missing arguments": a key is missing, or the body is not such an object
//	403 "Status update forbidden on offline device."
//	413 body over 64 KiB
//	429 more than API.StatusRate
//	503 no database
func (a *API) deviceStatus(w http.ResponseWriter, r *http.Request) {
	device, _, ok := a.device(w, r, "device status")
	if !ok || !a.mayPost(w, device.Principal) {
		return
	}
	body, err := readBody(w, r, maxStatusBody, statusBodyTime)
	if isTooBig(err) {
		a.answer(w, http.StatusRequestEntityTooLarge, "The body is over 64 KiB.")
		return
	}
	status, ok := parseStatus(body)
	if err != nil || !ok {
		a.answer(w, http.StatusBadRequest, "Missing arguments")
		return
	}
	isOnline, err := a.DeviceStatus.SetStatus(r.Context(), device.ID, status.Text, status.seconds)
	switch {
	case err != nil:
		a.unavailable(w, "device status", err)
	case !isOnline:
		a.say(w, r, http.StatusForbidden, "Status update forbidden on offline device.")
	default:
		status.UUID = device.UUID
		a.answer(w, http.StatusOK, status)
	}
}

// statusAnswer is the answer to a status post.
type statusAnswer struct {
	UUID    string      `json:"uuid"`
	Text    string      `json:"status"`
	At      json.Number `json:"timestamp"` // as the device wrote it
	seconds float64     // the same number
}

// parseStatus parses the body of a status post. ok is false if a part is missing.
func parseStatus(body []byte) (answer statusAnswer, ok bool) {
	var given map[string]json.RawMessage // keys are case-sensitive
	if !utf8.Valid(body) || json.Unmarshal(body, &given) != nil {
		return statusAnswer{}, false
	}
	var text bytes.Buffer
	if json.Compact(&text, given["status"]) != nil { // missing
		return statusAnswer{}, false
	}
	at := given["timestamp"]
	seconds, err := strconv.ParseFloat(string(at), 64) // JSON, so no Inf or NaN
	if err != nil {
		return statusAnswer{}, false
	}
	return statusAnswer{Text: text.String(), At: json.Number(at), seconds: seconds}, true
}
