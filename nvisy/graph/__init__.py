"""Graphs: the model, reading and checking it, building one in Python, and the schema that editors use."""
