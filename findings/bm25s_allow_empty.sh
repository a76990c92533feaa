#!/usr/bin/env bash
# bm25s: `allow_empty` of its two tokenizers means opposite things
#
# Version: bm25s 0.3.16, NumPy 2.4.6, Python 3.11
# A good guess: the function `tokenize` and the class `Tokenizer` treat a text without words alike under the same
#   option.
# What happens: for an empty text and `allow_empty=True` the function gives no token and the class gives one empty
#   token. For False it is the other way round.
# For whom it matters: an index built with one of them and queries cut by the other disagree on empty titles: all of
#   these get a token in common.
# Seen on 2026-11-28:
#   function: True [[]], False [['']]
#   class:    True [['']], False [[]]
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check bm25s==0.3.16 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import bm25s
from bm25s.tokenization import Tokenizer

function, method = {}, {}
for allowed in (True, False):
    function[allowed] = bm25s.tokenize([""], return_ids=False, allow_empty=allowed, show_progress=False)
    method[allowed] = Tokenizer().tokenize([""], return_as="string", allow_empty=allowed, show_progress=False)
print(f"function: True {function[True]}, False {function[False]}")
print(f"class:    True {method[True]}, False {method[False]}")
assert function == {True: [[]], False: [[""]]}
assert method == {True: [[""]], False: [[]]}
PYTHON
