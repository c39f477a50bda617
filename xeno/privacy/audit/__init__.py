"""Is the protection what it claims to be? Checks that would notice if it were not."""
