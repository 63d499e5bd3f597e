"""Holding an index against its log: what differs, mending it, and where a vector comes from."""
