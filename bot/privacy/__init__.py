"""What is kept, for how long, and under which name."""
