"""Specimens in atoms: matrices, crystals, interphases, and the truth about them."""
