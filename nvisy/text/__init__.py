"""The text work: bytes to text, and text to chunks, as pure functions."""
