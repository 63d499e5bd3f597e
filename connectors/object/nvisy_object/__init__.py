"""Files and object stores as sources."""
