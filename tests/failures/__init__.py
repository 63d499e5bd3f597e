"""Thirty ways in which an index goes wrong without a word, each played; docs/decisions/0017 lists them."""
