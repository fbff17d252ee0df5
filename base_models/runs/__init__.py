"""Runs: a folder of folds and their chunks, the stores made from them, and predictions for new photos."""
