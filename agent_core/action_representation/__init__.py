"""What a policy sees of an action: its features, a code of its id, or both."""
