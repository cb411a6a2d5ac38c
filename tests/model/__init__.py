"""A model of the protocol between ingest, Redis, the flushers, MongoDB and the dashboard, searched exhaustively.

It is small enough to try every order of steps and faults, and follows the programs step by step: what one of them does
atomically (a Lua script, a transaction, an update of one document) is one step here. `python -m tests.model` runs the
large searches and prints what goes wrong without each of the protocol's measures; the tests run small ones.
"""
