"""Attacks on the whole service, and what a learner beside them notices: `make siege`."""
