"""Which format, endpoint or table does a dataset get, and who has said so?"""
