"""Secure aggregation: who may add cannot read, who may read sees only the sum.

encoding.py     real numbers <-> integers packed into plaintexts; what could overflow cannot be constructed
scheme.py       the three roles (encrypt, add, decrypt) as protocols
paillier.py     what a public key allows: encrypt, check, add
decryption.py   what a private key allows; only the key holder may import it
sharing.py      Shamir's sharing over the whole numbers: its public part
dealing.py      deal a key out among holders; only the dealer may import it
key_share.py    what one share allows; only a key holder may import it
roots.py        the root of a sum's noise: the arithmetic of opening
opening.py      open a sum with the holders' answers, and check that it was
plain.py        the twin that encrypts nothing and passes the same tests
roles.py        the object of each role, by the name in the key
"""
