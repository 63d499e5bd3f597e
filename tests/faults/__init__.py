"""The fault matrix: pipelines that are killed, starved and lied to, and an oracle that says what must be left."""
