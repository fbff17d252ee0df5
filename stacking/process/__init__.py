"""What a process may take and start: time, memory, and other processes."""
