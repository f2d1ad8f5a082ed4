"""What a dishonest client can try, and who stops it: every way to lie against the product's own parties.

forger.py    false proofs of ranges
forge.py     how a liar makes its update
lies.py      one function a lie
lie.py, catalogue.py   what is to stop each
scene.py     a federation in this process with one liar, and what came of its round
suite.py     play them all, with the check and without
picture.py
"""
