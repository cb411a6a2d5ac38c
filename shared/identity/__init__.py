"""Who is calling: tokens and the keys that verify them."""
