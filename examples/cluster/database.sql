-- Run once, by an administrator, on the primary: psql -d postgres -f database.sql. Then give the role its password with
-- \password latchkey, and put the same text into the password file of each node.
CREATE ROLE latchkey LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE latchkey OWNER latchkey ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
REVOKE ALL ON DATABASE latchkey FROM PUBLIC;
-- Lets `latchkey doctor` and `latchkey cluster check` see which standbys are connected.
GRANT pg_read_all_stats TO latchkey;
