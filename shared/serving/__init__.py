"""The parts of a gRPC server: start and stop, errors, probes."""

import os

# gRPC reads it on import, which these modules do next. By default it writes a line for each call with a malformed
# header, so anybody could fill the log. A server logs refused calls itself (shared/serving/refusals.py).
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
