"""XENO's core: everything but the window and the federation, usable headless."""

__version__ = "0.1.0"
