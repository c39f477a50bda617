"""Widgets that more than one part of the window uses."""
