"""What a dishonest aggregator can try, and who stops it: every attack against real clients and key holders.

stage.py, backup.py   federations to attack: folders, identities, keys
honest.py             the honest parties: real clients and key holders, in threads, over mutual TLS
rogue.py              the dishonest aggregator's side of the wire
conspirators.py       clients and key holders on its side
crafted.py, moves.py  rounds and lists it makes up, and all it can ask of the others
ciphertexts.py        arithmetic with ciphertexts it cannot read, and reading what was opened
factoring.py          for keys that are too short
loot.py               what an attack got, compared with the truth
attack.py, attacks/   one function an attack, and what is to stop it
suite.py, command.py  play them all, with the check and without
report.py, page.py, picture.py

The dishonest aggregator has its own certificate and signing key, what the public parts of the protocol allow, and
whatever its conspirators have. It takes nothing from `server/`.
"""
