"""The typed data: nine primitives, the base of a user's own, and the change that carries them."""

from nvisy.primitives.audio_payload import AudioPayload
from nvisy.primitives.change import Change, Op
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.completion import Completion
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.fine_tune_sample import FineTuneSample, Message, Role
from nvisy.primitives.image_payload import ImagePayload
from nvisy.primitives.primitive import MetadataValue, Primitive, content_hash, derive_id
from nvisy.primitives.provenance import Provenance, Span, Version
from nvisy.primitives.structured_output import StructuredOutput
from nvisy.primitives.tool_call_trace import ToolCall, ToolCallNode, ToolCallTrace
from nvisy.primitives.types import BUILTIN, PrimitiveTypes
from nvisy.primitives.values import Json, Vector

__all__ = [
    "BUILTIN",
    "AudioPayload",
    "Change",
    "Chunk",
    "Completion",
    "Document",
    "Embedding",
    "FineTuneSample",
    "ImagePayload",
    "Json",
    "Message",
    "MetadataValue",
    "Op",
    "Primitive",
    "PrimitiveTypes",
    "Provenance",
    "Role",
    "Span",
    "StructuredOutput",
    "ToolCall",
    "ToolCallNode",
    "ToolCallTrace",
    "Vector",
    "Version",
    "content_hash",
    "derive_id",
]
