package event

// Form is what a recipient hears of an Event.
type Form uint8

// The forms. The restricted ones are those of a service for everybody but superadmins, where the body names projects or
// sites: see withoutPlaces.
const (
	None  Form = iota // nothing
	Plain             // a message
	Create
	Update
	Delete // DB_DELETE with the object's keys only: it is gone, or gone out of sight
	Gone   // DB_UPDATE of an object that was soft-deleted: its body has deleted_at
	CreateRestricted
	UpdateRestricted
	GoneRestricted

	Forms = iota // how many there are
)

// FormFor says what somebody hears of e who is among Present (sees), was among Former (saw), and holds the tag x
// (isSuperadmin) or does not.
func (e *Event) FormFor(sees, saw, isSuperadmin bool) Form {
	if e.Kind == Message && sees {
		return Plain
	}
	if e.Kind != Object {
		return None
	}
	form := None
	switch {
	case sees && saw:
		form = Update
	case sees:
		form = Create
	case saw && e.object.isSoftDelete:
		form = Gone
	case saw:
		return Delete
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

// HasDelete says whether e can be encoded as Delete: of a message and of an object that nobody saw it cannot.
func (e *Event) HasDelete() bool { return e.object.gone != "" }
