"""The embedding models that come with Nvisy, the limits that those behind an API keep to, and a cache of answers."""
