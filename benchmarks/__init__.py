"""How fast the library is, compared with PyTorch on the same shapes: `python -m benchmarks`."""
