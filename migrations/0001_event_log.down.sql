DROP TABLE terasocket.events;
DROP FUNCTION terasocket.notify_events();
DROP FUNCTION terasocket.capture_failed(text, text, text, text, text);
DROP TABLE terasocket.capture_errors;
DROP TABLE terasocket.pending;
