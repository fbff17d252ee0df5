"""Ledgers: what a long job has done so far, kept so that it can go on after a stop."""
