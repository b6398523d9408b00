package access

// Standing is what a principal holds as of one position of the event log.
type Standing struct {
	Epoch, Seq uint64   // of the newest row of the log that is committed in the same snapshot
	Tags       []string // none: it may not be connected
}
