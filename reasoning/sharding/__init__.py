"""Propagation on several shards, each the owner of some entities: what they say to each other, and who brings them to rest.

Called by reasoning.belief; imports the rest of reasoning. Nothing here knows processes or networks: all that travels is arrays.
"""
