"""The embedding models that come with Nvisy: `local/hash`, `local/wordllama`; and the cache of what models answered."""
