-- The presence of everyone that this principal may see, as the messages that would announce it.
-- $1 text: its kind; $2 integer: its id
-- Result: the full names of the messages, and their ProtoJSON, in order
-- Index: those of presence_snapshot()
SELECT p.names, p.messages FROM terasocket.presence_snapshot($1, $2) p
