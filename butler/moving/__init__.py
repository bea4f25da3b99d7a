"""How do stored datasets get other formats, places and copies, and how do they go?"""
