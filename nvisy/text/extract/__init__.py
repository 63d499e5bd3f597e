"""Bytes to text, for every format Nvisy reads: one function, one small module per format.

Text formats are read in place, within limits. PDF, Word and HTML files go to a process of their own
(`reader.py`, `child.py`), so that what breaks a parser costs one document and no more.
"""

from nvisy.text.extract.dispatch import extract
from nvisy.text.extract.extracted import Extracted
from nvisy.text.extract.media_type import media_type_of

__all__ = ["Extracted", "extract", "media_type_of"]
