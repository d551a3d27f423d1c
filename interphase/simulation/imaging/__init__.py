"""What a microscope makes of a specimen: waves, images, patterns, scans, spectra, counts."""
