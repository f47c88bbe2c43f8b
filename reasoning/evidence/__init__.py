"""Detectors: windows in, findings out. Each says how much likelier the data are if a condition holds, and nothing when too little was seen."""
