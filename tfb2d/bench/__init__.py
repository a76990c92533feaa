"""Side-by-side measurements: this package's students and what would be used instead (`python -m tfb2d.bench`)."""
