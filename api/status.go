package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"terasocket/access"
)

// DeviceDoor knows devices by their tokens.
// Errors: access.ErrUnauthorized, access.ErrDisabled, or the database's.
type DeviceDoor interface {
	Device(ctx context.Context, token string) (access.Identity, error)
}

// DeviceStatus keeps and announces what a device that is online tells of itself, JSON text; isOnline is false when it is
// not. Errors: the database's.
type DeviceStatus interface {
	SetStatus(ctx context.Context, id int32, status string, at float64) (isOnline bool, err error)
}

// maxStatusBody keeps the event that tells of a status far below what a frame may hold.
const (
	maxStatusBody  = 64 << 10
	statusBodyTime = 10 * time.Second // for the body to arrive
)

// deviceStatus answers POST /api/device/status of a device (see device). Body: {"status": {...}, "timestamp": 1.5}.
//
//	200 {"uuid": "...", "status": "{...}", "timestamp": 1.5}: the status is kept, and announced to those who may see
//	    the device; status is JSON text here
//	400 "Missing arguments": a key is missing, or the body is not such an object
//	403 "Status update forbidden on offline device."
//	413 body over 64 KiB
//	503 no database
func (a *API) deviceStatus(w http.ResponseWriter, r *http.Request) {
	device, ok := a.device(w, r)
	if !ok {
		return
	}
	body, err := readBody(w, r, maxStatusBody, statusBodyTime)
	var tooBig *http.MaxBytesError
	if errors.As(err, &tooBig) {
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
		a.answer(w, http.StatusForbidden, "Status update forbidden on offline device.")
	default:
		status.UUID = device.UUID
		a.answer(w, http.StatusOK, status)
	}
}

// statusAnswer is a status as it is answered.
type statusAnswer struct {
	UUID    string      `json:"uuid"`
	Text    string      `json:"status"`
	At      json.Number `json:"timestamp"` // as the device wrote it
	seconds float64     // the same number
}

// parseStatus reads the body of a status call. ok is false for one that lacks a part.
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

// device says which device calls, by its static token: Authorization: OpenTera <token>, or ?token=<token>. Where there
// is none that may, the answer is written, OpenTera's: 401 "Unauthorized", 401 "Disabled device" for a disabled one's
// token in the header, 401 "Invalid token" for a header without a blank; 503 no database.
func (a *API) device(w http.ResponseWriter, r *http.Request) (access.Identity, bool) {
	refusal := "Unauthorized"
	var tokens []string
	if header := strings.TrimSpace(r.Header.Get("Authorization")); header != "" {
		scheme, token, hasBlank := strings.Cut(header, " ")
		if !hasBlank {
			a.answer(w, http.StatusUnauthorized, "Invalid token")
			return access.Identity{}, false
		}
		if scheme == "OpenTera" {
			tokens = append(tokens, strings.TrimSpace(token))
		}
	}
	inHeader := len(tokens)
	// a header that is no device's leaves it to the argument
	for i, token := range append(tokens, r.URL.Query().Get("token")) {
		device, err := a.Devices.Device(r.Context(), token)
		switch {
		case err == nil:
			return device, true
		case errors.Is(err, access.ErrUnauthorized):
			continue
		case !errors.Is(err, access.ErrDisabled):
			a.unavailable(w, "device token", err)
			return access.Identity{}, false
		}
		if i < inHeader {
			refusal = "Disabled device"
		}
		break
	}
	a.Log.Info("device refused", "op", "device token", "addr", a.Proxies.ClientAddr(r))
	a.answer(w, http.StatusUnauthorized, refusal)
	return access.Identity{}, false
}
