"""Channels: where messages come from and replies go. One folder each; none knows of policies."""
