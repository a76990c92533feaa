#!/usr/bin/env bash
# Tantivy (Python): one document of a wrong type takes the good ones of its batch along
#
# Version: tantivy 0.27.0, Python 3.11
# A good guess: `add_document` refuses a value of a wrong type, or the commit fails and a second try keeps the good
#   documents.
# What happens: `add_document` takes it, the first commit raises ValueError, and the second commit succeeds with an
#   empty index. So with one writer thread; with more threads some of the good documents may stay.
# For whom it matters: code that tries a failed commit again loses the batch and sees a success.
# Seen on 2026-11-28:
#   first commit: ValueError
#   second commit: no error, documents in the index: 0
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check tantivy==0.27.0
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import tantivy

builder = tantivy.SchemaBuilder()
builder.add_integer_field("id", indexed=True)
builder.add_text_field("title", stored=True)
index = tantivy.Index(builder.build())
writer = index.writer(num_threads=1)
for number in range(3):
    writer.add_document(tantivy.Document(id=number, title="a red shoe"))
writer.add_document(tantivy.Document(id="four", title="a blue shoe"))
try:
    writer.commit()
    first = "no error"
except ValueError:
    first = "ValueError"
writer.commit()
index.reload()
count = index.searcher().num_docs
print(f"first commit: {first}")
print(f"second commit: no error, documents in the index: {count}")
assert (first, count) == ("ValueError", 0)
PYTHON
