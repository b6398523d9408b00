-- Whom an OpenTera login ticket names, if they may connect.
-- $1 kind, $2 uuid -> id, name, counter covered only by future kicks, time since the last kick (null: none); no row: refused
-- Index: the unique key of the UUID, kicked_principal
SELECT id, name, counter, kicked FROM terasocket.ticket_holder($1, $2)
