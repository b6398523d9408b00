package event

// Form is what a recipient gets of an Event.
type Form uint8

// The restricted forms are those of a service for everybody but superadmins, if the body names projects or sites: see withoutPlaces.
const (
	None  Form = iota // nothing
	Plain             // a message
	Create
	Update
	Delete // DB_DELETE with the object's keys only: it is gone, or no longer visible
	Gone   // DB_UPDATE of an object that was soft-deleted: its body has deleted_at
	CreateRestricted
	UpdateRestricted
	GoneRestricted

	Forms = iota // number of forms
)

// FormFor returns the form of e for a recipient: sees if it is among Present, saw if it is among Former, isSuperadmin if it holds the tag x.
// The body of a soft delete is for all former viewers; if it has Present keys, it may contain data of other objects, and is only for
// those former viewers who satisfy them.
func (e *Event) FormFor(sees, saw, isSuperadmin bool) Form {
	if e.Kind == Message && sees {
		return Plain
	}
	if e.Kind != Object {
		return None
	}
	form := None
	isGone := e.object.isSoftDelete
	switch {
	case saw && isGone && (sees || e.Present == ""):
		form = Gone
	case saw && !sees:
		return Delete
	case isGone: // whoever did not see it before learns nothing
	case saw:
		form = Update
	case sees:
		form = Create
	}
	if isSuperadmin || e.object.restricted == e.object.body {
		return form
	}
	switch form {
	case Create:
		return CreateRestricted
	case Update:
		return UpdateRestricted
	case Gone:
		return GoneRestricted
	}
	return form
}

// HasDelete reports whether e can be encoded as Delete, unlike a message or an object without former viewers.
func (e *Event) HasDelete() bool { return e.object.gone != "" }
