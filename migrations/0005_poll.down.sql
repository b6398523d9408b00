DROP SEQUENCE terasocket.polled_until;
