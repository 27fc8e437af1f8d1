"""The engine of Concord. Knows no framework: only a worker imports a backend."""
