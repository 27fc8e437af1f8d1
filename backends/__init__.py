"""One folder a backend, the same files in the same order: made to be read side by side."""
