"""How do files that exist become datasets?"""
