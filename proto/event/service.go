package event

import (
	"encoding/json"
	"errors"
)

// withoutPlaces removes the roles on projects and sites and the list of projects from a service's object_value: OpenTera lists in
// service_roles and service_projects every place that uses the service, and whoever sees the service through one project need not see the
// others. Only superadmins get the full value. A value that names no place is returned unchanged.
func withoutPlaces(body string) (restricted string, err error) {
	var service map[string]json.RawMessage
	if json.Unmarshal([]byte(body), &service) != nil {
		return "", errors.New("not a JSON object")
	}
	var roles, global []map[string]json.RawMessage
	var projects []json.RawMessage
	if text, ok := service["service_roles"]; ok && json.Unmarshal(text, &roles) != nil {
		return "", errors.New("service_roles is not a list of objects")
	}
	if text, ok := service["service_projects"]; ok && json.Unmarshal(text, &projects) != nil {
		return "", errors.New("service_projects is not a list")
	}
	for _, role := range roles {
		_, onProject := role["id_project"]
		_, onSite := role["id_site"]
		if !onProject && !onSite {
			global = append(global, role)
		}
	}
	if len(global) == len(roles) && len(projects) == 0 {
		return body, nil
	}
	if global == nil {
		global = []map[string]json.RawMessage{} // [], not null
	}
	if service["service_roles"], err = json.Marshal(global); err != nil {
		return "", errors.New("service_roles cannot be written again")
	}
	service["service_projects"] = json.RawMessage("[]")
	text, err := json.Marshal(service)
	if err != nil {
		return "", errors.New("cannot be written again")
	}
	return string(text), nil
}
