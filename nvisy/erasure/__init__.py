"""Being rid of a document for good: wherever its text may be."""
