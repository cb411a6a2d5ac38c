"""What at least two of the three programs need; it imports none of them."""
