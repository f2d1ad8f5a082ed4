"""Client-level differential privacy: what a client does to its update before it is encrypted, and what that protects.

discrete_gaussian.py  noise of whole numbers, drawn exactly
mechanism.py          clip, round, add noise, and check that all of it fits
"""
