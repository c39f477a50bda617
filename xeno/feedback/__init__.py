"""From feedback on replies to preference pairs."""
