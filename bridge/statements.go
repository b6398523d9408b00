package bridge

// Statements are those that the bridge asks of PostgreSQL, by the name of their file.
func Statements() map[string]string {
	return map[string]string{
		"lead":             leadSQL,
		"leave":            leaveSQL,
		"nobody_elsewhere": nobodyElsewhereSQL,
		"reconcile":        reconcileSQL,
		"record":           recordSQL,
		"take":             takeSQL,
		"untold":           untoldSQL,
	}
}
