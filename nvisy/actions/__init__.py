"""The built-in actions: one module each, with its parameters and its descriptor."""
