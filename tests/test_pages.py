"""The links of all Markdown pages lead to files that are there, and to headings that they have."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("docs", "findings", "results", "saved_models", "serving", "tests", "tfb2d", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(page for room in ROOMS for page in (ROOT / room).rglob("*.md"))])
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
NAMED = re.compile(r"(?<![\w/.:-])((?:\.\./)*(?:[\w-]+/)*[\w-]+\.md)(?:#([\w-]+))?")
MARKED = re.compile(r"^(```|~~~).*?^\1|<!--.*?-->", re.MULTILINE | re.DOTALL)  # holds no links


def links(page: str) -> list[str]:
    """Returns where a page's links lead, those within code left out."""
    text = re.sub(r"`[^`\n]*`", "`code`", MARKED.sub("", page))
    return [first or second for first, second in LINK.findall(text)]


def anchors(page: str) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", MARKED.sub("", page), re.MULTILINE):
        shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        seen[name] = seen.get(name, -1) + 1
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
    return names | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", page))


def broken(page: Path) -> list[str]:
    """Returns a page's links that lead nowhere."""
    wrong = []
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):  # of the web
            continue
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        if not target.exists() or ROOT not in (target.resolve(), *target.resolve().parents):
            wrong.append(f"{link}: no such file")
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(f"{link}: no such heading")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_pages_that_code_names_are_there() -> None:
    """A docstring may send its reader to a page; that page exists, and its heading if one is named."""
    wrong = []
    for module in (ROOT / "tfb2d").rglob("*.py"):
        for path, anchor in NAMED.findall(module.read_text(encoding="utf-8")):
            if "/" not in path and path not in ("BUILD.md", "CONTRIBUTING.md", "CHANGELOG.md"):
                continue  # a README.md that is written, or another project's page
            page = ROOT / path
            if not page.is_file() or (anchor and anchor not in anchors(page.read_text(encoding="utf-8"))):
                wrong.append(f"{module.relative_to(ROOT)}: {path}")
    assert wrong == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_pages.ROOT", tmp_path)
    (tmp_path / "other.md").write_text(
        "# The `first` heading, twice\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n"
    )
    good = "[a](other.md) [b](other.md#the-first-heading-twice) [c](other.md#twice-1) [d](#here) `[e](x.md)` [f](https://x.y/z)"
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n{good}\n\n```\n[g](missing.md)\n```\n")
    assert broken(page) == []
    page.write_text(
        "[a](missing.md) ![b](missing.svg) [c](other.md#twice-2) [d](#here) [e](other.md#no-heading)\n[f]: missing.md\n"
    )
    assert broken(page) == [
        "missing.md: no such file",
        "missing.svg: no such file",
        "other.md#twice-2: no such heading",
        "#here: no such heading",
        "other.md#no-heading: no such heading",
        "missing.md: no such file",
    ]
