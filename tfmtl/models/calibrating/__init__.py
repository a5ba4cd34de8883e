"""Curves from held-out rows."""
