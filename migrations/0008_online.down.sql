DROP FUNCTION terasocket.disconnect(text, integer, text, bigint, text);
DROP FUNCTION terasocket.service_may_disconnect(integer, text, integer);
DROP FUNCTION terasocket.user_may_disconnect(integer, text, integer);
DROP FUNCTION terasocket.administered(integer);
DROP FUNCTION terasocket.device_by_token(text);
DROP FUNCTION terasocket.online_seen(integer, text);
