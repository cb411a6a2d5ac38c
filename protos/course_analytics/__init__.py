"""The public contract of course analytics; the generated code lies beside its protos."""
