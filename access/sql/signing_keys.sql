-- The signing keys, without their secrets: by name, the one that signs first.
-- -> name, created_at, retires_at (null: it signs)
SELECT name, created_at, retires_at FROM terasocket.signing_keys
WHERE  retires_at IS NULL OR retires_at > clock_timestamp()
ORDER  BY name, id DESC
