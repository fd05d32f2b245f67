"""Blocks that encoders and attenders are stacked from."""
