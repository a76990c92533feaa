"""`python -m tfb2d.bench` is `tfb2d bench`."""

from tfb2d.cli import door

if __name__ == "__main__":
    door("bench")
