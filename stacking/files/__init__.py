"""Writing files whole, caching results, reading cells: what every room that touches the disk shares."""
