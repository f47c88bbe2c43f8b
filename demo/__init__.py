"""A simulated estate whose telemetry follows from mechanism and reaches a real server as OTLP.

Called by the command line. Imports nothing of ours but api's public client; never the causal knowledge or reasoning.
"""
