"""The local stack: real servers, the three programs and a demo course, for `make run`, tests and benchmarks."""
