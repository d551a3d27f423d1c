"""Specimens in atoms, and the truth about them."""
