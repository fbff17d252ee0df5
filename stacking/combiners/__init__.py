"""Combiners: what turns the scores of several members into one, by votes or by learning, on one contract."""
