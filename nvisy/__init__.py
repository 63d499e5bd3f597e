"""Streaming dataflows for AI data."""
