"""From windows to verdicts: detectors make findings, knowledge x topology make a causal network, inference makes posteriors.

Called by agent and api. Imports graph and schema; never ingest.
"""
