-- Makes the weeks that are due, and drops those that are over.
-- $1 interval: how long deliveries are kept
SELECT made, dropped FROM terasocket.keep_deliveries($1)
