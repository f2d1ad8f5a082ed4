"""Attacks, each a pure function of what its adversary sees. They are run on what clients and servers really compute."""
