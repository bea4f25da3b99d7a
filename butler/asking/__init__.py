"""How is a question answered, over one repository or several in order?"""
