"""Questions about the models and the protocol, each answered by one command with a table and pictures."""
