"""Images: the store, their layers, the Dockerfile builder, the bootstrap of known distributions."""
