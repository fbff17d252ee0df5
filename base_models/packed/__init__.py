"""Photos decoded once: squares of pixels on the disk, mapped into memory by whoever trains or scores."""
