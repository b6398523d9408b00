package api

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of the body of a form.
const (
	maxFormBody  = 16 << 10
	formBodyTime = 10 * time.Second // for the body to arrive
)

// arguments returns the arguments of the query and, for a POST, of the body: a JSON object of strings, booleans and numbers, or
// a form. The query takes precedence. For any other body it answers 400, or 413 over 16 KiB.
func (a *API) arguments(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	given := r.URL.Query()
	if r.Method != http.MethodPost {
		return given, true
	}
	body, err := readBody(w, r, maxFormBody, formBodyTime)
	switch {
	case isTooBig(err):
		a.refuse(w, http.StatusRequestEntityTooLarge, "the body is over 16 KiB", -1)
		return nil, false
	case err != nil:
		a.refuse(w, http.StatusBadRequest, "the body did not arrive", -1)
		return nil, false
	}
	posted, ok := parseArguments(r.Header.Get("Content-Type"), body)
	if !ok {
		a.refuse(w, http.StatusBadRequest, "the body must be a JSON object of texts, booleans and numbers, or a form", -1)
		return nil, false
	}
	for name, values := range posted {
		if !given.Has(name) {
			given[name] = values
		}
	}
	return given, true
}

// parseArguments parses a body. ok is false if it is neither a form nor such an object.
func parseArguments(contentType string, body []byte) (_ url.Values, ok bool) {
	if len(body) == 0 {
		return nil, true
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if mediaType == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, false
		}
		return form, true
	}
	var object map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.UseNumber()
	if !utf8.Valid(body) || decoder.Decode(&object) != nil || object == nil {
		return nil, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	values := url.Values{}
	for name, value := range object {
		switch value := value.(type) {
		case string:
			values.Set(name, value)
		case json.Number:
			values.Set(name, value.String())
		case bool:
			values.Set(name, map[bool]string{true: "true", false: "false"}[value])
		case nil: // as if absent
		default:
			return nil, false
		}
	}
	return values, true
}

// onlyKnown refuses unknown arguments where OpenTera does.
func (a *API) onlyKnown(w http.ResponseWriter, given url.Values, known ...string) bool {
	var unknown []string
	for name := range given {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) == 0 {
		return true
	}
	slices.Sort(unknown)
	a.answer(w, http.StatusBadRequest, map[string]string{"message": "Unknown arguments: " + strings.Join(unknown, ", ")})
	return false
}

// boolean returns the first of these arguments that is given; absent is false. If it is not a boolean, the answer is written.
func (a *API) boolean(w http.ResponseWriter, given url.Values, names ...string) (value, ok bool) {
	for _, name := range names {
		if !given.Has(name) {
			continue
		}
		switch strings.ToLower(given.Get(name)) {
		case "true", "1", "on":
			return true, true
		case "false", "0":
			return false, true
		}
		a.badArgument(w, name, "must be true or false")
		return false, false
	}
	return false, true
}

// withWebsocket reports whether a websocket URL is requested; some clients use the plural name.
func (a *API) withWebsocket(w http.ResponseWriter, given url.Values) (value, ok bool) {
	return a.boolean(w, given, "with_websocket", "with_websockets")
}

// socketWish is what a login requests.
type socketWish struct {
	wanted    bool // a websocket URL
	isReplace bool // the new socket replaces those that the caller has open
}

func (a *API) wish(w http.ResponseWriter, given url.Values) (wish socketWish, ok bool) {
	if wish.wanted, ok = a.withWebsocket(w, given); !ok {
		return wish, false
	}
	wish.isReplace, ok = a.boolean(w, given, "replace")
	return wish, ok
}

// required returns required arguments; if one is missing, the answer is written.
func (a *API) required(w http.ResponseWriter, given url.Values, names ...string) (values []string, ok bool) {
	for _, name := range names {
		if !given.Has(name) {
			a.badArgument(w, name, "Missing required parameter")
			return nil, false
		}
		values = append(values, given.Get(name))
	}
	return values, true
}

// badArgument is OpenTera's answer to an argument that is missing or of the wrong type.
func (a *API) badArgument(w http.ResponseWriter, name, problem string) {
	a.answer(w, http.StatusBadRequest, map[string]any{
		"errors":  map[string]string{name: problem},
		"message": "Input payload validation failed",
	})
}
