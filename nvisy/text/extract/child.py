"""The reader process: parses untrusted PDF, Word and HTML files where a crash or a bomb harms nothing else.

It ends when its input does, and so when its parent dies.
"""

import importlib
import os
import resource
import signal
import sys

from nvisy.errors import Rejected
from nvisy.text.extract.frames import receive, send

FORMATS = {
    "docx": "nvisy.text.extract.docx",
    "html": "nvisy.text.extract.html",
    "pdf": "nvisy.text.extract.pdf",
}


def main(memory_bytes: int, deadline_s: int) -> None:
    """Answer requests until the input ends: `memory_bytes` of address space in all, `deadline_s` for each."""
    requests = sys.stdin.buffer
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the frames
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while request := receive(requests):
        header, content = request
        module = importlib.import_module(FORMATS[header["format"]])
        signal.alarm(deadline_s)  # ends the process even inside native code, and when the parent is gone
        try:
            extracted = module.read(content, **header["options"])
            send(replies, {"metadata": extracted.metadata}, extracted.text.encode())
        except Rejected as error:
            send(replies, {"kind": error.kind, "message": str(error)})
        except MemoryError:
            send(replies, {"kind": "memory", "message": ""})
            return
        signal.alarm(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
