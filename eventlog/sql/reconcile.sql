-- Compares what some principals hold with OpenTera's role tables, and records differences as changes.
-- $1 text: kind; $2 integer: start after this id; $3 integer: maximum number of principals
-- Result: the last id compared, null at the end; how many principals differ
-- Index: those of reconcile()
SELECT last, different FROM terasocket.reconcile($1, $2, $3)
