import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfb2d.config import AugmentConfig
from tfb2d.data.transfer import pieces
from tfb2d.data.treebank import treebank, without_markup


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"Don\'t," he said (twice)...', "`` do n't , '' he said ( twice ) ..."),
        ("It's the Smiths' house; I cannot wait!!", "it 's the smiths ' house ; i can not wait ! !"),
        ("He paid $1,000 at 3:10 -- well-made.", "he paid $ 1,000 at 3:10 -- well-made ."),
        ("Mr. Jones of the U.S. army.", "mr. jones of the u.s. army ."),
        ("They're 'great' in the '70s", "they 're ` great ' in the '70s"),
        ("“Curly” – quotes…", "`` curly '' -- quotes ..."),
        ('by "Alan Smithee".', "by `` alan smithee '' ."),
        ("wait . . . what?", "wait ... what ?"),
        ("I'm gonna, gotta, wanna", "i 'm gon na , got ta , wan na"),
        ("", ""),
    ],
)
def test_form(text: str, expected: str) -> None:
    assert treebank(text) == expected


@given(st.text("aB .,'\"-!(n't)…1:", max_size=60))
def test_no_letter_is_lost_and_tokens_are_parted_by_one_space(text: str) -> None:
    form = treebank(text)
    assert [c for c in form if c.isalnum()] == [c for c in text.lower() if c.isalnum()]
    assert form == " ".join(form.split())


def test_markup() -> None:
    assert (
        without_markup("One.<br /><br />Two <i>three</i> &amp; 4 < 5, 6 > 3 <3")
        == "One.\n\n\n\nTwo three & 4 < 5, 6 > 3 <3"
    )
    assert without_markup("<" * 50_000) == "<" * 50_000


def test_pieces_of_a_review() -> None:
    review = "I liked it<br /><br />It wasn't bad. No. " + "word " * 50
    form = AugmentConfig(markup=True, sentences=True, treebank=True, min_words=3, max_words=45)
    assert list(pieces(review, form)) == ["i liked it", "it was n't bad ."]
    assert list(pieces("One two. Three", AugmentConfig(min_words=4))) == []
    assert list(pieces("One two. Three", AugmentConfig(min_words=3))) == ["One two. Three"]
