"""Connections to Redis and MongoDB, and what is asked of both."""
