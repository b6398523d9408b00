-- The routing keys of an object in the last announced state.
-- $1 text: object type; $2 bigint: id
-- Result: one row with the keys; no row when the object is gone
-- Index: the primary key of told
SELECT t.keys::text FROM terasocket.told t WHERE t.object_type = $1 AND t.id = $2
