-- What each gateway's logins put before /wss/..., for the doctor.
ALTER TABLE terasocket.gateways ADD COLUMN public_url text;
COMMENT ON COLUMN terasocket.gateways.public_url IS 'its --public-url; empty: it has none, and goes by the request; null: an older gateway';
