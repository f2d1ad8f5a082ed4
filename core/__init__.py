"""What more than one party needs: learning in NumPy, secure aggregation, the wire between them."""
