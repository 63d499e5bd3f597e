"""Running a plan: one process per stage, each with a Bytewax dataflow between a reading and a writing thread."""
