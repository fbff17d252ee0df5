"""Meta-learners that grow LightGBM trees, a label at a time or over (row, label) pairs."""
