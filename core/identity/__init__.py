"""Who is who: what a party proves itself with, and how the others know it.

signing.py       Ed25519 signatures on messages, each for one purpose
sealing.py       a blob that only one holder can open (X25519, HKDF, AES-256-GCM)
key_file.py      private keys on disk, under a passphrase (scrypt, AES-256-GCM)
certificates.py  TLS certificates (ECDSA P-256), and the party's name in them
members.py       the members: roles, public keys, who is revoked
roster.py        the list of members as a signed file, read again when it is replaced
party.py         one party's folder, read and checked as a whole
files.py, strict_json.py   small helpers: atomic writing; JSON that is exactly what is expected
"""
