"""Secure aggregation: who may add cannot read, who may read sees only the sum.

encoding.py     real numbers <-> integers packed into plaintexts; what could overflow cannot be constructed
scheme.py       the three roles (encrypt, add, decrypt) as protocols
paillier.py     what a public key allows: encrypt, check, add
decryption.py   what a private key allows; only the key holder may import it
plain.py        the twin that encrypts nothing and passes the same tests
roles.py        the object of each role, by the name in the key
"""
