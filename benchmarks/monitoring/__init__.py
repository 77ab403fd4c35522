"""How often monitors alarm without a change, and how soon with one, in simulations of the code that watches."""
