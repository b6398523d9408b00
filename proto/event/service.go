package event

import (
	"encoding/json"
	"errors"
	"strings"

	"terasocket/proto/opentera"
)

// superadmins is the routing key of those who see every project and site.
const superadmins = `[["x"]]`

// splitService makes two events of a service's where its body names projects or sites: OpenTera lists in service_roles
// and service_projects everything that uses the service, and who sees the service through one project need not see the
// others. Superadmins get the full body, everybody else one with the service's global roles only.
func splitService(e Event, body string) ([]Event, error) {
	public, isSame, err := withoutPlaces(body)
	if err != nil || isSame {
		return []Event{e}, err
	}
	others := e
	others.Message, err = newDatabaseEvent(e.Message.(*opentera.DatabaseEvent).GetType(), "service", public)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(e.To, `"x"`) {
		return []Event{others}, nil
	}
	others.NotTo = superadmins
	e.To = superadmins
	return []Event{e, others}, nil
}

// withoutPlaces takes the roles on projects and sites and the list of projects out of a service's object_value. isSame
// says that there were none.
func withoutPlaces(body string) (public string, isSame bool, err error) {
	var service map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &service) != nil {
		return "", false, errors.New("not a JSON object")
	}
	var roles, global []map[string]json.RawMessage
	var projects []json.RawMessage
	if text, ok := service["service_roles"]; ok && json.Unmarshal(text, &roles) != nil {
		return "", false, errors.New("service_roles is not a list of objects")
	}
	if text, ok := service["service_projects"]; ok && json.Unmarshal(text, &projects) != nil {
		return "", false, errors.New("service_projects is not a list")
	}
	for _, role := range roles {
		_, onProject := role["id_project"]
		_, onSite := role["id_site"]
		if !onProject && !onSite {
			global = append(global, role)
		}
	}
	if len(global) == len(roles) && len(projects) == 0 {
		return body, true, nil
	}
	if global == nil {
		global = []map[string]json.RawMessage{} // [], not null
	}
	if service["service_roles"], err = json.Marshal(global); err != nil {
		return "", false, errors.New("service_roles cannot be written again")
	}
	service["service_projects"] = json.RawMessage("[]")
	text, err := json.Marshal(service)
	if err != nil {
		return "", false, errors.New("cannot be written again")
	}
	return string(text), false, nil
}
