"""Telemetry in: receivers decode OTLP into columnar batches; the assembler turns them into closed windows of event time.

Called by api/server.py and api/replay.py. Imports graph and schema; never reasoning.
"""
