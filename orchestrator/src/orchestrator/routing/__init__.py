"""Pure: which human?"""
