-- Publishes an event: it is announced when the transaction commits.
-- $1 topic, $2 ProtoJSON of the event's Any, "@type" included
SELECT terasocket.publish($1, $2::text::jsonb)
