-- Gives the bridge back.
-- $1 bigint: the term
-- Index: bridge_pkey
SELECT terasocket.bridge_leave($1)
