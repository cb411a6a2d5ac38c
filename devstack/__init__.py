"""The local stack: real servers, the programs and a demo course, for `make run`, tests and benchmarks."""
