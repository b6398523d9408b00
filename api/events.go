package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"terasocket/access"
)

// Publisher publishes events, all or none.
// Errors: an *access.PublishError, or the database's.
type Publisher interface {
	Publish(ctx context.Context, events []access.Publication) error
}

// Limits of one call.
const (
	maxEventsBody   = 16 << 20
	eventsBodyTime  = 30 * time.Second // for the body to arrive
	publishDeadline = 30 * time.Second
)

// publishEvents answers POST /api/service/events of a service: Authorization: OpenTera <token>, or ?token=<token>. The body is
// a TeraEvent with 1 to 1,000 events, serialized (application/x-protobuf) or as ProtoJSON (application/json); its header.topic
// is the destination. Each event becomes one frame for those who may see it, in order; all or none.
//
//	200 {"events": 2}: number of events published; a gateway assigns their seqs later
//	400 {"message": "event has no sessionUuid", "index": 0}: what is wrong, and with which event, if it is one of them
//	401 Unauthorized: no token, a bad or expired one, a disabled or deleted service; Invalid Token: a header without a blank
//	413 body over 16 MiB, or an event over terasocket.max_event_bytes
//	415 another Content-Type
//	503 no database
func (a *API) publishEvents(w http.ResponseWriter, r *http.Request) {
	service, ok := a.service(w, r, "publish")
	if !ok {
		return
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	parse := parsers[contentType]
	if err != nil || parse == nil {
		a.refuse(w, http.StatusUnsupportedMediaType, "Content-Type must be application/x-protobuf or application/json", -1)
		return
	}
	body, err := readBody(w, r, maxEventsBody, eventsBodyTime)
	switch {
	case isTooBig(err):
		a.refuse(w, http.StatusRequestEntityTooLarge, "the body is over 16 MiB", -1)
		return
	case err != nil:
		a.refuse(w, http.StatusBadRequest, "the body did not arrive", -1)
		return
	}
	events, err := parse(body)
	var wrong *bodyError
	if errors.As(err, &wrong) {
		a.refuse(w, http.StatusBadRequest, wrong.problem, wrong.index)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), publishDeadline)
	defer cancel()
	err = a.Publisher.Publish(ctx, events)
	var refused *access.PublishError
	switch {
	case errors.As(err, &refused) && refused.IsTooBig:
		a.refuse(w, http.StatusRequestEntityTooLarge, refused.Problem, refused.Index)
	case errors.As(err, &refused):
		a.refuse(w, http.StatusBadRequest, refused.Problem, refused.Index)
	case err != nil:
		a.unavailable(w, "publish", err)
	default:
		a.Log.Debug("published", "op", "publish", "principal", service.String(), "events", len(events))
		a.answer(w, http.StatusOK, map[string]any{"events": len(events)})
	}
}

// isTooBig reports whether the error of readBody means that the body is over its limit.
func isTooBig(err error) bool {
	var tooBig *http.MaxBytesError
	return errors.As(err, &tooBig)
}

// readBody reads at most limit bytes within that time. For a larger body, isTooBig is true of the error.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, within time.Duration) ([]byte, error) {
	// Not every ResponseWriter supports deadlines; without one there is no time limit.
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(within))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil { // otherwise net/http reads on after the answer, which must be bounded
		_ = deadline.SetReadDeadline(time.Time{}) // or it would end the request while the database is still working
	}
	return body, err
}

// refuse answers an error; index is the event that it is about, or -1.
func (a *API) refuse(w http.ResponseWriter, status int, message string, index int) {
	answer := map[string]any{"message": message}
	if index >= 0 {
		answer["index"] = index
	}
	a.answer(w, status, answer)
}
