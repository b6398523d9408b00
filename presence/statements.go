package presence

// Statements are those of this package that are long enough for a file, by its name.
func Statements() map[string]string {
	return map[string]string{"connected": connectedSQL, "disconnected": disconnectedSQL, "snapshot": snapshotSQL}
}
