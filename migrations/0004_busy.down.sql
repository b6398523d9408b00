ALTER TABLE terasocket.busy DROP COLUMN since, DROP COLUMN is_known;
