package eventlog

// Statements returns this package's SQL by file name. In addition the package calls announce(), fill() and set_aside_next(), under the
// lock of terasocket.announcer.
func Statements() map[string]string {
	return map[string]string{
		"begin": beginSQL, "gauges": gaugesSQL, "reaches": reachesSQL, "read": readSQL, "reconcile": reconcileSQL, "restarted": restartedSQL, "rights": rightsSQL,
		"standing": standingSQL, "told_keys": toldKeysSQL, "triggers": triggersSQL, "trim": trimSQL,
	}
}
