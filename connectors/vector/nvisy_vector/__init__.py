"""Vector stores as Nvisy sinks: one module per store, and modules with an underscore for what they share."""
