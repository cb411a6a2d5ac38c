"""The warehouse: what MongoDB's documents say, as rows of ClickHouse, for questions across all courses."""
