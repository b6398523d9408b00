DROP FUNCTION terasocket.service(text);
DROP FUNCTION terasocket.service_token_key();
DROP TABLE terasocket.signing_keys;
