"""The log in SQLite files, for a machine without a broker."""

from nvisy.topics.embedded.log import EmbeddedLog

__all__ = ["EmbeddedLog"]
