-- Who of a kind is online or busy and visible to this user.
-- $1 id_user, $2 kind -> JSON array of OpenTera's objects, in OpenTera's order
SELECT terasocket.online_seen($1, $2)
