"""Training: the loop, what it starts from, what is due between its steps, and how a run starts."""
