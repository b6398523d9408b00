package api

import (
	"net/http"

	"golang.org/x/text/language"
)

// french holds OpenTera's French texts (login.md, section 2). Texts that are missing here are sent in English.
var french = map[string]string{
	"Unauthorized":                   "Non autorisé",
	"Forbidden":                      "Accès refusé",
	"Success":                        "Succès",
	"User already logged in.":        "L'utilisateur est déjà connecté.",
	"Participant already logged in.": "Le participant est déjà connecté.",
	"Device already logged in.":      "L'appareil est déjà connecté.",
	"Disabled device":                "Appareil désactivé",
	"Invalid token":                  "Jeton invalide",
	"User logged out.":               "Utilisateur déconnecté.",
	"Participant logged out.":        "Participant hors ligne.",
	"Device logged out.":             "Appareil déconnecté.",
	"Invalid OTP code":               "Code OTP invalide",
}

// maxAcceptLanguage is far more than a browser sends.
const maxAcceptLanguage = 1000

// translated returns a text in the language that the client prefers, English or French; English if it prefers neither.
func translated(r *http.Request, text string) string {
	in, ok := french[text]
	if ok && prefersFrench(r.Header.Get("Accept-Language")) {
		return in
	}
	return text
}

func prefersFrench(accept string) bool {
	if accept == "" || len(accept) > maxAcceptLanguage {
		return false
	}
	tags, _, err := language.ParseAcceptLanguage(accept)
	if err != nil {
		return false
	}
	_, index, confidence := language.NewMatcher([]language.Tag{language.English, language.French}).Match(tags...)
	return index == 1 && confidence > language.No
}

// say answers with a text in the client's language, as a JSON string.
func (a *API) say(w http.ResponseWriter, r *http.Request, status int, text string) {
	a.answer(w, status, translated(r, text))
}
