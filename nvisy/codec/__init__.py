"""Primitives and changes as Avro on a topic, schema registries, and the files that hold the schemas."""

from nvisy.codec.blobs import Blobs
from nvisy.codec.codec import MAX_MESSAGE_BYTES, SLACK_BYTES, Codec
from nvisy.codec.registry import Registry, open_registry

__all__ = ["MAX_MESSAGE_BYTES", "SLACK_BYTES", "Blobs", "Codec", "Registry", "open_registry"]
