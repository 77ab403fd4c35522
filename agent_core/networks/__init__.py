"""Function approximators, and the numpy forms that serve them."""
