"""What XENO knows about how its user likes to be answered."""
