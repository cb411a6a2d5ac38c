-- The warehouse on a ClickHouse cluster called `analytics`: replicated, and sharded by course. Run it once on any node, before
-- the first start of `python -m warehouse`, which then finds its tables. Tests parse it with the real engine, but it has not been
-- run on a cluster. With the profile in users.sql an insert waits for its shards and for a quorum of replicas.
CREATE TABLE tallies_local ON CLUSTER analytics
(
    kind Enum8('course' = 1, 'day' = 2, 'lecture' = 3),
    counter LowCardinality(String),
    course FixedString(24),
    lecture String,
    day Date,
    item UInt32,
    at UInt64,
    total UInt64
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/course_analytics/tallies', '{replica}', at)
PARTITION BY toYYYYMM(day)
ORDER BY (kind, counter, course, lecture, day, item)
SETTINGS index_granularity = 1024;

-- All rows of a course are on one shard, so FINAL sees every version of a key.
CREATE TABLE tallies ON CLUSTER analytics AS tallies_local
ENGINE = Distributed(analytics, currentDatabase(), tallies_local, cityHash64(course));

CREATE TABLE progress ON CLUSTER analytics
(
    name String,
    value String,
    written DateTime64(6)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/course_analytics/progress', '{shard}-{replica}', written)
ORDER BY name;
