"""Draws a task of long texts with ten grades from the Large Movie Review Dataset, which is no part of this project.

  python examples/imdb/reviews.py ACLIMDB FOLDER --unlabelled=6000

ACLIMDB is the unpacked archive of Maas et al. (2011), with its folders `train` and `test`. Writes `train.csv` and
`test.csv` (text, rating) and `unlabelled.csv` (text), which has so many reviews. Ratings are 1 to 4 and 7 to 10; the
labelled halves share no film. Files are drawn at random from their sorted names, so each machine draws the same reviews.
"""

import argparse
import csv
import random
from pathlib import Path

DRAWN = {"train": 2_100, "test": 1_500}
FOLDERS = {"train": ("train/neg", "train/pos"), "test": ("test/neg", "test/pos"), "unlabelled": ("train/unsup",)}
SEED = 0


def main(archive: Path, folder: Path, unlabelled: int) -> None:
    """Writes the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in {**DRAWN, "unlabelled": unlabelled}.items():
        files = sorted(file for part in FOLDERS[name] for file in (archive / part).glob("*_*.txt"))
        labelled = name != "unlabelled"
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(("text", "rating") if labelled else ("text",))
            for file in random.Random(SEED).sample(files, count):
                text = file.read_text(encoding="utf-8").replace("<br />", " ")
                rating = file.stem.split("_")[1]  # names are NUMBER_RATING.txt
                writer.writerow((text, rating) if labelled else (text,))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("archive", type=Path)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--unlabelled", type=int, default=6_000, help="reviews without a rating, at most 50000")
    given = arguments.parse_args()
    main(given.archive, given.folder, given.unlabelled)
