"""Writes a saved teacher's model card: what it is, how it was made, and what its limits are."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfb2d.atomic import write_atomic
from tfb2d.data import resources
from tfb2d.data.task import Task

CARD = """# {name}

A text classifier made by tfb2d from `{preset}`{layers}. `tfb2d.teachers.teacher.load_teacher` reads this folder, and
`keras_hub.models.TextClassifier.from_preset` reads `model/` (of ELECTRA and MPNet after `import tfb2d.teachers.models`).
KerasHub's tokenizers cut some texts otherwise than the teacher read them (accents, rare scripts; of ALBERT capitals, too).

- Made on {date}, in {seconds:.0f} s of fine-tuning
- Task: {kind}, from {fields} to {outputs}
- Rows: {rows:,} for training, {valid_rows:,} for validation
- Licence of the base model: {licence}

## Settings

{settings}

## On the validation rows

{evaluation}

## Limits

It reads the first {max_length} tokens of a row and knows the languages and the time that its base model was trained on.
It was fine-tuned on a single data set: on other sources its scores may rank well and still be badly calibrated. It has the
biases of its base model and its labels, and so does each student that learns from its scores.
"""


def write_card(path: Path, task: Task, settings: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
    """Writes the model card of a teacher's task, its `TeacherConfig` as a dict, and what `fine_tune` returned."""
    best = outcome["best"]
    outputs = f"a logit for each of {', '.join(task.classes)}" if task.kind == "multiclass" else "one logit"
    text = CARD.format(
        name=path.parent.name,
        preset=settings["preset"],
        layers=f", its first {settings['layers']} layers" if settings["layers"] else "",
        date=datetime.datetime.now(datetime.UTC).date(),
        kind=task.kind,
        fields=" and ".join(f"`{name}`" for name in task.fields),
        outputs=outputs,
        licence=_licence(settings["preset"]),
        settings="\n".join(
            f"- {name}: {settings[name]}" for name in settings if name not in ("logits", "logits_column")
        ),
        evaluation="\n".join(f"- {name}: {best[name]:.4g}" for name in best) if best else "There were none.",
        max_length=settings["max_length"],
        **{name: outcome[name] for name in ("seconds", "rows", "valid_rows")},
    )
    write_atomic(path, text)


def _licence(preset: str) -> str:
    """Reads the licence from the base model's own card: `license:` in the front matter of Hugging Face's cards."""
    card = Path(resources.resolve(preset)).expanduser() / "README.md"
    licence = re.search(r"^license:\s*(\S+)", card.read_text(encoding="utf-8"), re.M) if card.exists() else None
    return licence[1] if licence else "not known; see where it comes from"
