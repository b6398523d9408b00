package audit

// Statements are those that serve --audit-deliveries asks, by their files.
func Statements() map[string]string { return map[string]string{"keep": keepSQL, "record": recordSQL} }
