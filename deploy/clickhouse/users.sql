-- The warehouse's users in ClickHouse, for the database `analytics`: run it as an administrator, with your own passwords.
-- Tests parse it with the real engine, but it has not been run: ClickHouse in process has no users.
CREATE DATABASE IF NOT EXISTS analytics;

-- An insert is acknowledged once all shards and two replicas have it: only then is the position in the source saved.
CREATE SETTINGS PROFILE IF NOT EXISTS analytics_warehouse SETTINGS insert_quorum = 'auto', distributed_foreground_insert = 1;

-- `python -m warehouse`, its `audit` and its `snapshot`.
CREATE USER IF NOT EXISTS warehouse IDENTIFIED WITH sha256_password BY 'PLACEHOLDER' SETTINGS PROFILE 'analytics_warehouse';
GRANT CREATE TABLE, SELECT, INSERT ON analytics.* TO warehouse;
-- Used where the server requires it (`table_engines_require_grant`).
GRANT TABLE ENGINE ON ReplacingMergeTree TO warehouse;

-- Grafana, and analysts. Grafana's ClickHouse plugin sets a time limit with every query.
CREATE USER IF NOT EXISTS analyst IDENTIFIED WITH sha256_password BY 'PLACEHOLDER' SETTINGS readonly = 1, max_execution_time = 30 CHANGEABLE_IN_READONLY;
GRANT SELECT ON analytics.tallies TO analyst;
