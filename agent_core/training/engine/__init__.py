"""Makes updates in the fastest form that is right on the machine at hand. Knows no algorithm."""
