"""Data that only the book needs: its toy examples, word lists, and where public datasets are published."""
