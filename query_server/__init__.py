"""One Redis and one MongoDB request, merged by pure functions: the instructor's dashboard."""
