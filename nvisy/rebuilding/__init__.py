"""An index built anew by replay, beside the one that readers see, and shown to them when it is whole."""
