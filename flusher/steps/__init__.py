"""The steps of the flush protocol."""
