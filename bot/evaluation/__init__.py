"""`outreach evaluate`: measures labelled messages by the way that residents' messages go (docs/measuring.md)."""
