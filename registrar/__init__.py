"""The registrar: makes a federation's keys, certificates and roster, and changes the roster later. Works offline.

It listens nowhere and connects to nothing; what it makes is carried to the parties by people.
"""
