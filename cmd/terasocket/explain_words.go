package main

import (
	"fmt"
	"slices"
	"strings"

	"terasocket/access"
)

// named returns, for example, `project 1 "Knee"`.
func named[ID int32 | int64](what string, id *ID, name *string) string {
	words := what
	if id != nil {
		words = fmt.Sprint(what, " ", *id)
	}
	if name != nil {
		words += fmt.Sprintf(" %q", *name)
	}
	return words
}

// whatHappened returns `DB_UPDATE participant 12`, or the name of the message.
func whatHappened(e access.ExplainedEvent) string {
	if e.Op == nil || e.ObjectType == nil {
		return messageName(e)
	}
	op := map[string]string{"C": "DB_CREATE", "U": "DB_UPDATE", "G": "DB_UPDATE (soft delete)", "D": "DB_DELETE"}[*e.Op]
	return op + " " + named(*e.ObjectType, e.ObjectID, nil)
}

// messageName returns the message name without its package.
func messageName(e access.ExplainedEvent) string {
	return e.Type[strings.LastIndexByte(e.Type, '.')+1:]
}

// needs lists the ways to satisfy a clause, each of which suffices.
func needs(all []access.Need) []string {
	if len(all) == 0 {
		return []string{"what nobody has"}
	}
	var lines []string
	isSuperadmins := false
	for _, n := range all {
		if n.Tag == "x" && len(all) > 1 {
			isSuperadmins = true // printed last
			continue
		}
		words := need(n)
		if len(lines) > 0 {
			words = "or " + words
		}
		// an admin of the site was named with its project; the same user may be listed twice
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasSuffix(line, strings.TrimPrefix(words, "or ")) }) {
			lines = append(lines, words)
		}
	}
	if isSuperadmins {
		lines = append(lines, "or superadmin")
	}
	return lines
}

func need(n access.Need) string {
	var words string
	switch n.Tag[:min(1, len(n.Tag))] {
	case "x":
		words = "superadmin"
	case "p":
		words = "a role on " + named("project", n.ID, n.Name)
		if n.SiteID != nil {
			words += ", or admin of " + named("site", n.SiteID, n.SiteName)
		}
	case "s":
		words = "a role on " + named("site", n.ID, n.Name) + ", or on a project of it"
	case "a":
		words = "admin of " + named("site", n.ID, n.Name)
	case "u":
		words = "to be " + named("user", n.ID, nil)
	case "t":
		words = "to be " + named("participant", n.ID, nil)
	case "d":
		words = "to be " + named("device", n.ID, nil)
	default:
		return fmt.Sprintf("%q, which nobody has", n.Tag)
	}
	if n.IsGone {
		words += ", which is deleted"
	}
	return words
}

// paths lists the ways in which the client satisfies a clause, each once.
func paths(c access.ExplainedClient, all []access.Path) []string {
	var lines []string
	for _, path := range all {
		var line string
		switch {
		case path.By == "superadmin":
			line = "superadmin"
		case path.By == "itself":
			line = fmt.Sprintf("it is %s %d", c.Kind, c.ID)
		case path.Role != nil:
			line = role(*path.Role)
		}
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// holdings lists everything that a client has, for a clause that it does not satisfy.
func holdings(c access.ExplainedClient) []string {
	var lines []string
	if c.IsSuperadmin {
		lines = append(lines, "superadmin")
	}
	for _, r := range c.Roles {
		lines = append(lines, role(r))
	}
	if len(lines) > 0 {
		return lines
	}
	if c.Kind == "user" {
		return []string{"no role"}
	}
	return []string{fmt.Sprintf("it is %s %d; only users have roles", c.Kind, c.ID)}
}

// role returns, for example, `role "admin" of OpenTeraServer on project 1 "Knee", through group 3 "Project admins"`.
func role(r access.Role) string {
	words := fmt.Sprintf("role %q", r.Name)
	if r.Service != nil {
		words += " of " + *r.Service
	}
	if r.On == nil {
		words += " on no site and no project"
	} else {
		words += " on " + named(*r.On, r.OnID, r.OnName)
	}
	if r.IsGone {
		words += ", which is deleted"
	}
	return words + ", through " + named("group", &r.GroupID, &r.Group)
}

// advice says what to do about a clause that the client does not satisfy; "" for nothing.
func advice(c access.ExplainedClient, needed []access.Need) string {
	living := slices.DeleteFunc(slices.Clone(needed), func(n access.Need) bool { return n.IsGone })
	switch {
	case len(living) == 0:
		return "nobody can receive it"
	case c.IsDeleted:
		return ""
	case !c.IsEnabled:
		return "enable the " + c.Kind + " first"
	case c.Kind != "user":
		return ""
	}
	for _, n := range living {
		switch n.Tag[:1] {
		case "p":
			return "put the user into a group with a role on " + named("project", n.ID, n.Name)
		case "s":
			return "put the user into a group with a role on " + named("site", n.ID, n.Name) + " or on a project of it"
		case "a":
			return "put the user into a group with the role \"admin\" on " + named("site", n.ID, n.Name)
		}
	}
	if living[0].Tag == "x" {
		return "only superadmins receive it"
	}
	return "no role helps: it is for these alone"
}

// notes lists what else people should know.
func notes(x *access.Explanation) []string {
	all := []string{}
	isDatabaseEvent := x.Event.Op != nil
	switch name := messageName(x.Event); {
	case strings.HasPrefix(x.Event.Type, "terasocket."):
		return append(all, name+" is for the gateways: no client hears it")
	case name == "LoginEvent" || name == "LogEvent":
		return append(all, "no client hears a "+name)
	case isDatabaseEvent && x.Client.Kind != "user":
		all = append(all, "participants and devices get no database events")
	case !isDatabaseEvent:
		all = append(all, "linked devices and members of a session are those of the moment when the event was published")
	}
	if x.Client.IsDeleted || !x.Client.IsEnabled {
		return append(all, fmt.Sprintf("the %s is %s: it may not connect, and receives nothing", x.Client.Kind, state(x.Client)))
	}
	all = append(all, "this is by the roles of now; they are asked for when an event is delivered, so it may have been otherwise then")
	const clock = "2006-01-02 15:04:05 MST"
	switch since := x.Client.ConnectedSince; {
	case since == nil:
		all = append(all, "the client is not connected now")
	case since.After(x.Event.At):
		words := "connected since " + since.Local().Format(clock) + ", after the event was recorded"
		if x.MaySee || x.AsDeleted {
			words += ": it gets it only with since="
		}
		all = append(all, words)
	default:
		all = append(all, "connected since "+since.Local().Format(clock)+", before the event was recorded")
	}
	return all
}
