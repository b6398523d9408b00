DROP TABLE terasocket.deliveries;
