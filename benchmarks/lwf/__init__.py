"""What Learning without Forgetting keeps of an old task, and what it costs of the new one."""
