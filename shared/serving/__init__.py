"""What makes a gRPC server: its start and end, its errors, its probes."""
