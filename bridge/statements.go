package bridge

// Statements returns the bridge's SQL statements by file name.
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
