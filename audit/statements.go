package audit

// Statements returns the SQL of serve --audit-deliveries by file name.
func Statements() map[string]string { return map[string]string{"keep": keepSQL, "record": recordSQL} }
