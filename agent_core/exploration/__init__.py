"""From scores to the exact distribution that the action is drawn from."""
