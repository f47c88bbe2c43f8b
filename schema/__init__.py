"""The vocabulary of Whence: entity kinds, relations, attributes, telemetry batches, verdicts, and the causal knowledge as data.

Called by every other room. Imports nothing of ours.
"""
