"""Features of a frozen network, computed once and kept on disk, and heads that train on them in seconds."""
