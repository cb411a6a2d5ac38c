-- The users of the warehouse in ClickHouse, for the database `analytics`: run it as an administrator, with passwords of your own.
-- Parsed by tests with the real engine; it has not been run: ClickHouse in process has no users.
CREATE DATABASE IF NOT EXISTS analytics;

-- An insert is answered for when two replicas have it, and all shards: only then the place in the source is remembered.
CREATE SETTINGS PROFILE IF NOT EXISTS analytics_warehouse SETTINGS insert_quorum = 'auto', distributed_foreground_insert = 1;

-- `python -m warehouse`, its `audit` and its `snapshot`.
CREATE USER IF NOT EXISTS warehouse IDENTIFIED WITH sha256_password BY 'PLACEHOLDER' SETTINGS PROFILE 'analytics_warehouse';
GRANT CREATE TABLE, SELECT, INSERT ON analytics.* TO warehouse;

-- Grafana, and people who ask questions.
CREATE USER IF NOT EXISTS analyst IDENTIFIED WITH sha256_password BY 'PLACEHOLDER' SETTINGS readonly = 1;
GRANT SELECT ON analytics.tallies TO analyst;
