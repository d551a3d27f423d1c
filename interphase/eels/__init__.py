"""Electron energy-loss spectra at low dose: thickness, elements, lithium species."""

__all__: list[str] = []
