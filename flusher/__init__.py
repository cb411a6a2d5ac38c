"""Redis to MongoDB, exactly once: takes the counters of dirty courses and adds them to their documents."""
