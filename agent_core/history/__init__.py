"""What was seen before, as a part of the state."""
