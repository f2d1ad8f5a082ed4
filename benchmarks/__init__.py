"""How fast the library is, beside PyTorch on the same shapes: `python -m benchmarks`."""
