"""The names and formats of what is stored."""
