-- Whom a ticket of OpenTera's login names, where they may connect and were not kicked since it was made.
-- $1 kind, $2 uuid, $3 age of the ticket -> id, name, counter that only kicks since the ticket cover; no row: refused
-- Index: the unique key of the UUID, kicked_principal
SELECT id, name, counter FROM terasocket.ticket_holder($1, $2, $3)
