"""What a run is told: its data, members, folds and training settings, checked and hashed."""
