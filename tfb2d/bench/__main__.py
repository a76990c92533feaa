"""`python -m tfb2d.bench` is `tfb2d bench`."""

from tfb2d.cli import run_command

if __name__ == "__main__":
    run_command("bench")
