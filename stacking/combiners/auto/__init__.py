"""Auto: race the combiners, keep those that no other beats, and say what each step of the way gained."""
