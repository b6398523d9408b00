package bridge

// Statements returns the bridge's SQL statements by file name.
func Statements() map[string]string {
	return map[string]string{
		"away":      awaySQL,
		"lead":      leadSQL,
		"leave":     leaveSQL,
		"reconcile": reconcileSQL,
		"record":    recordSQL,
		"take":      takeSQL,
		"untold":    untoldSQL,
	}
}
