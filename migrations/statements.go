package migrations

import _ "embed"

// The statements of the migrator; each file says what it does.
var (
	//go:embed sql/look.sql
	lookSQL string
	//go:embed sql/in_the_way.sql
	inTheWaySQL string
	//go:embed sql/existing.sql
	existingSQL string
	//go:embed sql/grants.sql
	grantsSQL string
	//go:embed sql/public.sql
	publicSQL string
	//go:embed sql/drop.sql
	dropSQL string
	//go:embed sql/triggers.sql
	triggersSQL string
	//go:embed sql/tables.sql
	tablesSQL string
	//go:embed sql/indexes.sql
	indexesSQL string

	//go:embed sql/validate.sql
	validateSQL string
	//go:embed sql/subscription.sql
	subscriptionSQL string
	//go:embed sql/orphans.sql
	orphansSQL string
)
