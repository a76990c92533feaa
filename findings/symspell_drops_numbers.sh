#!/usr/bin/env bash
# symspellpy: correcting a query of several words removes a number from it
#
# Version: symspellpy 6.10.1, Python 3.11
# A good guess: a word that no dictionary word is near stays in the query, as the size in "monitor 27" does.
# What happens: `lookup_compound` also tries two neighbouring words as one. "monitor27" is two edits from "monitor", less
#   than "27" is from any word, so the number is gone, and "bosch 60 fridge" becomes "bosch fridge". With an edit distance
#   of 1 numbers of one digit still go. `ignore_non_words=True` keeps them all.
# For whom it matters: in product search numbers are what tells two products apart.
# Seen on 2026-11-29:
#   distance 2: monitor 27 -> monitor; bosch 60 fridge -> bosch fridge; fridge 7 -> fridge
#   distance 1: monitor 27 -> monitor 27; bosch 60 fridge -> bosch 60 fridge; fridge 7 -> fridge
#   distance 2, ignore_non_words: monitor 27 -> monitor 27; bosch 60 fridge -> bosch 60 fridge; fridge 7 -> fridge 7
# The script ends with an error if one of these lines changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check symspellpy==6.10.1
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
from symspellpy import SymSpell

speller = SymSpell(max_dictionary_edit_distance=2)
for word, count in (("monitor", 30), ("bosch", 20), ("fridge", 20)):
    speller.create_dictionary_entry(word, count)
queries = ("monitor 27", "bosch 60 fridge", "fridge 7")


def corrected(name: str, distance: int, **settings: bool) -> list[str]:
    found = [speller.lookup_compound(query, distance, **settings)[0].term for query in queries]
    print(f"{name}: " + "; ".join(f"{query} -> {term}" for query, term in zip(queries, found)))
    return found


assert corrected("distance 2", 2) == ["monitor", "bosch fridge", "fridge"]
assert corrected("distance 1", 1) == ["monitor 27", "bosch 60 fridge", "fridge"]
assert corrected("distance 2, ignore_non_words", 2, ignore_non_words=True) == list(queries)
PYTHON
