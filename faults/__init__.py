"""Break things on purpose and see whether what was promised still holds: `python -m faults [scenario ...]`.

Every scenario plays rounds whose result is known beforehand (task.py), breaks something in the middle, and lets one
judge decide (oracle.py): nothing that was acknowledged is lost, nothing is counted twice. Not shipped; it may see all
parties.
"""
