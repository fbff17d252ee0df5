"""What a run is made from: its data, members, folds and training settings, checked and hashed."""
