"""The GraphQL door: types with stored fields, one resolver for each root field, limits, and an executor that projects lists.

Called by api/http.py. Reads the Runtime; nothing here changes what is believed.
"""
