CREATE TABLE IF NOT EXISTS tallies
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
ENGINE = ReplacingMergeTree(at)
PARTITION BY toYYYYMM(day)
ORDER BY (kind, counter, course, lecture, day, item)
-- By default an index entry covers 8,192 rows, and a course's days are spread over one such range in each month.
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, index_granularity = 1024;

-- How far the change stream has been read, where no Kafka remembers it.
CREATE TABLE IF NOT EXISTS progress
(
    name String,
    value String,
    written DateTime64(6)
)
ENGINE = ReplacingMergeTree(written)
ORDER BY name
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
