"""What stands between this package and the Paddle and Python that run it."""
