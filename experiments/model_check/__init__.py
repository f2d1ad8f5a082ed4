"""A model checker for one round: every order of messages that a dishonest aggregator can choose, with real parties.

    scene       the federation, and what is fixed in advance: attempts, keys, and who is dishonest
    parties     the product's own sessions, taken to any of their states by replaying the messages that led there
    adversary   the messages that the aggregator can send, given what it has heard
    judge       what has been opened, and whether it should not have been
    explore     the search through all states

A party's state depends only on the messages that it took, so it is computed once for each such state and message.
"""
