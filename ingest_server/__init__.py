"""gRPC in, one atomic Redis write out: counts course views and telemetry pings."""
