"""Clients that exist only while they train: rounds of thousands of clients in a few worker processes.

They run the product's own training and encoding and add the same integers, so the model is that of real parties to the
bit. Nothing is protected: it is one program.
"""
