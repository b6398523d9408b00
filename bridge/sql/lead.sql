-- Takes the bridge or keeps it.
-- $1 text: name of the gateway; $2 bigint: the term in which it holds it, 0: it does not; $3 interval: the lease
-- Result: the term and the mark of the last message that was written (null: none); no row while another gateway holds it
-- Index: bridge_pkey
SELECT l.now_term, l.mark FROM terasocket.bridge_lead($1, $2, $3) l
