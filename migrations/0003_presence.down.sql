DROP TABLE terasocket.busy, terasocket.kicked, terasocket.online, terasocket.connections, terasocket.gateways;
