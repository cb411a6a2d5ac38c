"""What at least two of the programs need; it imports none of them."""
