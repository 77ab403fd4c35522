"""One module for each group of claims."""
