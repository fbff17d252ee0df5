"""What a job will cost before it starts: memory, disk, hours; and what this machine has."""
