"""The model of the estate: the live graph, the resolver of identities, the store protocol and its implementations.

Called by ingest, reasoning, agent and api. Imports schema only; the only room that speaks SQL or Cypher.
"""
