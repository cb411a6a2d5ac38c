"""The warehouse: the totals in MongoDB's documents as rows of ClickHouse, for questions across all courses."""
