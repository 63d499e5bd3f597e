"""Databases as Nvisy sources."""
