"""How does a dataset lie in a table of the database, and come back out of it?"""
