"""The doors: GraphQL, HTTP, the command line, and server.py, which builds the process. Nothing is built at import.

Called by users. May import every other room but demo.
"""
