ALTER TABLE terasocket.kicked DROP COLUMN counter, DROP COLUMN is_replaced;
