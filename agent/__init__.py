"""What acts on verdicts: which remedies a root cause suggests, with their expected effect.

Called by api. Imports reasoning, graph and schema.
"""
