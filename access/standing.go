package access

// Standing is what a principal holds at one position of the event log.
type Standing struct {
	Epoch, Seq uint64   // of the newest committed row of the log in the same snapshot
	Tags       []string // none: it may not be connected
}
