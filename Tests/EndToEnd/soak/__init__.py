"""Hours of mischief for a relay, with the books kept. `make soak` runs it."""
