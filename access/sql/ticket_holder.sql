-- Whom a ticket of OpenTera's login names, where they may connect.
-- $1 kind, $2 uuid -> id, name, counter that only kicks to come cover, how long ago the last kick was (null: none); no row: refused
-- Index: the unique key of the UUID, kicked_principal
SELECT id, name, counter, kicked FROM terasocket.ticket_holder($1, $2)
