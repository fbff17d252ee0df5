"""What a search for voting weights maximizes, one idea a file."""
