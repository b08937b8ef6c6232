"""x"""
def search(*a): return None
