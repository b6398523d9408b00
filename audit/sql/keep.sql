-- Makes the weeks that are due, and drops those that are over.
-- $1 interval: how long deliveries are kept
-- Result: how many were dropped; what is wrong, "" for nothing
SELECT dropped, coalesce(problems, '') FROM terasocket.keep_deliveries($1)
