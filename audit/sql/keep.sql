-- Creates the weeks that are due, and drops those that are over.
-- $1 interval: retention
-- Result: number of weeks dropped; problems, "" for none
SELECT dropped, coalesce(problems, '') FROM terasocket.keep_deliveries($1)
