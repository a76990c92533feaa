"""Side-by-side measurements: this package's students and what would be used instead (`tfb2d bench`)."""
