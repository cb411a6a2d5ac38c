"""The service under attack: what callers may send that nobody would mean, and what is stored about people."""
