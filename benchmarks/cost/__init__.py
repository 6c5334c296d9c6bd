"""What RIFLE costs: idle, when it acts, at start-up, in memory. Results: docs/cost.md."""
