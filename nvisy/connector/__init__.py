"""What authors of connectors, actions and models implement: small protocols, and descriptors that present them."""
