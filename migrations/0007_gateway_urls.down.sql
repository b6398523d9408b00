ALTER TABLE terasocket.gateways DROP COLUMN public_url;
