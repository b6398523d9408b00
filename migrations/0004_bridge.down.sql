DROP TABLE terasocket.bridge_moves, terasocket.bridge_told, terasocket.bridge;
