"""A client's proof that every number in its ciphertexts lies in its range, which anybody can check: docs/bounds.md.

parameters   which numbers are proven to lie where, and how strong the proof is
field        arithmetic modulo the prime that the proof computes with
code         rows of numbers as polynomials, and their values at many places
tree         the hash tree that commits to those values
relation     the equations between the numbers, and their random combination
link         the equation that ties the numbers to the ciphertexts
proof        make a proof, check a proof
"""
