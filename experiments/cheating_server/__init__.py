"""What a dishonest aggregator can try, and who stops it: every attack against real clients and key holders.

stage.py       federations to attack: folders, identities, keys
honest.py      the honest parties: real clients and key holders, in threads, over mutual TLS
rogue.py       the dishonest aggregator's side of the wire
moves.py       what it can do with it: describe rounds, ask for lists, uploads, openings
ciphertexts.py arithmetic with ciphertexts it cannot read, and reading what was opened
factoring.py   for keys that are too short
loot.py        what an attack got, compared with the truth
attacks/       one function an attack
suite.py       runs them all, with the check and without
report.py      table, CSV, page and picture

The dishonest aggregator has its own certificate and signing key, what the public parts of the protocol allow, and
whatever its conspirators have. It takes nothing from `server/`.
"""
