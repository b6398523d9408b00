-- Publishes an event: it is heard when the transaction commits.
-- $1 topic, $2 full name of the message, $3 bytea the serialized message -> seq of the event, null when nobody was to be told
SELECT terasocket.publish($1, $2, $3::bytea)
