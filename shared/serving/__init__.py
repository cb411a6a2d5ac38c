"""What makes a gRPC server: its start and end, its errors, its probes."""

import os

# gRPC reads it when it is imported, which these modules do next. By default it writes a line for each call with an odd
# header, as many as anybody likes. What a server has to say of a call it logs itself (shared/serving/refusals.py).
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
