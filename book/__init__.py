"""The book's chapters 2 to 16: programs with their figures, pictures of networks, and notebooks."""
