"""Base models: what may be used, how it is read, and how it is spoken to."""
