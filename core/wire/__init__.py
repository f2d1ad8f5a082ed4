"""The wire: generated stubs, and strict conversion between their messages and the plain data of core.

federation_pb2*.py*   generated from proto/federation.proto; never edited
messages.py           message <-> data, every field checked
streams.py            long payloads as bounded pieces with declared length and digest
status.py             refusals <-> gRPC status, in one table
dialing.py            how a party reaches the aggregator: deadlines, keep-alive, retries with jitter
"""
