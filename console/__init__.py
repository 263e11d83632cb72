"""A trading console for the terminal: one engine that trades, and the faces that show it."""

__version__ = "0.1.0"
