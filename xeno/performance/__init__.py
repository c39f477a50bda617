"""What is known about how each version performs."""
