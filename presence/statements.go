package presence

// Statements returns this package's SQL by file name.
func Statements() map[string]string {
	return map[string]string{"connected": connectedSQL, "disconnected": disconnectedSQL, "snapshot": snapshotSQL}
}
