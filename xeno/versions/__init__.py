"""Versions: immutable adapters, addressed by their content, checked, deployed and rolled back."""
