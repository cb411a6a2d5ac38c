"""Connections to Redis and MongoDB, and checks of both."""
