"""The electron dose: what every place received, what it does to a phase, and how to weigh it."""

__all__: list[str] = []
