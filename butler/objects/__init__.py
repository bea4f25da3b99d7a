"""What are datasets in Python, of which parts are they, and when are two the same?"""
