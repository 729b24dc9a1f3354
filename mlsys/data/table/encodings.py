"""Detects the encoding of text that is not UTF-8 by how well its words look like those of a language.

Detectors for whole documents, such as charset-normalizer, need more foreign letters than a table has: of cells such as
"Größe" and "café" among numbers they take Windows-1252 and Mac Roman for Windows-1250.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

# Letters beyond ASCII, by language: German, French, Spanish, Portuguese, Italian, Swedish, Danish, Dutch, Icelandic.
_WESTERN = ("äöüß", "éèêëàâçîïôùûœæ", "ñáéíóúü", "ãõçáéíóúâêôà", "àèéìòù", "åäö", "åøæ", "ëïéö", "áéíóúýþæöð")
# Polish, Czech, Slovak, Hungarian, Romanian, Croatian.
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţ", "čćđšž")
# Russian, Ukrainian.
_CYRILLIC = ("абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгґдежзийклмнопрстуфхцчшщьюяєії")
# Letters that stand only next to some others: Portuguese "limões"; Polish "źródło", "późno" and "Łódź".
_NEIGHBOURS = {"õ": re.compile("õe"), "ź": re.compile("(?:^|[aeiouyąęódr])ź")}
_OPENING, _MARKS, _WIDE_MARKS = "“„‘«°", "“„‘«°”’»–—…€®™·", "・、。　"
_CONTRACTIONS = frozenset({"t", "s", "re", "ve", "ll", "d", "m"})  # don’t, it’s, …
_ELIDED = 2  # letters before an apostrophe: l’, qu’, O’
_MAX_WORDS = 2_000
_MIN_SCORE = 0.6
_LONGEST_RUN = 4  # letters beyond ASCII in a row; Latin words have no more
_NON_ASCII_WORD = re.compile(rb"[^\s,;|\"]*[\x80-\xff][^\s,;|\"]*")
_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class CodePage:
    """An encoding and how people call it.

    Attributes
    ----------
    name : str
        For Python.
    title : str
    languages : tuple of str
        The letters beyond ASCII of its languages, in lower case; empty for Japanese.
    """

    name: str
    title: str
    languages: tuple[str, ...]


class Detected(NamedTuple):
    """An encoding, the longest word beyond ASCII in it, and other encodings whose words look equally well."""

    encoding: CodePage
    word: str
    others: tuple[CodePage, ...]


# In order of preference where words look equally well. The code page of Windows for Japan extends Shift-JIS.
CODE_PAGES = (
    CodePage("cp1252", "Windows-1252 (Western Europe)", _WESTERN),
    CodePage("cp1250", "Windows-1250 (Central Europe)", _CENTRAL),
    CodePage("cp1251", "Windows-1251 (Cyrillic)", _CYRILLIC),
    CodePage("mac_roman", "Mac Roman (Western Europe)", _WESTERN),
    CodePage("cp932", "Shift-JIS (Japanese)", ()),
)


def detect(data: bytes) -> Detected | None:
    """Return the encoding in which the words beyond ASCII look most like words; None if none gives words.

    Parameters
    ----------
    data : bytes
        Text in an encoding of one or two bytes per letter, but not UTF-8.

    Returns
    -------
    Detected or None

    Examples
    --------
    >>> for text, codec in [("zażółć", "cp1250"), ("Москва", "cp1251"), ("Größe café", "mac_roman"), ("東京", "cp932")]:
    ...     found = detect(text.encode(codec))
    ...     print(found.encoding.title, found.word)
    Windows-1250 (Central Europe) zażółć
    Windows-1251 (Cyrillic) Москва
    Mac Roman (Western Europe) Größe
    Shift-JIS (Japanese) 東京
    """
    words = list(dict.fromkeys(_NON_ASCII_WORD.findall(data[: 1 << 24])))[:_MAX_WORDS]
    scored = [(_score(words, encoding), encoding) for encoding in CODE_PAGES if decodes(data, encoding.name)]
    best, encoding = max(scored, key=lambda pair: pair[0], default=(0.0, CODE_PAGES[0]))
    if best < _MIN_SCORE:
        return None
    text = _joined(words, encoding)
    others = [other for score, other in scored if score == best and _joined(words, other) != text]
    longest = max((part for part in text.split() if not part.isascii()), key=len)
    return Detected(encoding, longest, tuple(others))


def decodes(data: bytes, encoding: str) -> bool:
    """Return whether all bytes are characters of an encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _score(words: list[bytes], encoding: CodePage) -> float:
    """Return the fraction of letters of the best language, plus half that of all languages; 1.5 is perfect."""
    text = _joined(words, encoding)
    foreign = [char for char in text if not char.isascii() and char not in _WIDE_MARKS]
    letters = [char for part in _LETTERS.findall(text) for char in _plausible(part, encoding)]
    if not encoding.languages:
        return 1.5 * len(letters) / max(len(foreign), 1)
    marks = sum(char in _MARKS and _fits(text, position) for position, char in enumerate(text))
    best = max(sum(char in language for char in letters) for language in encoding.languages)
    known = sum(any(char in language for language in encoding.languages) for char in letters)
    return (best + known / 2 + 1.5 * marks) / max(len(foreign), 1)


def _fits(text: str, position: int) -> bool:
    """Return whether a quotation mark, a dash or a sign may stand where it does."""
    char, before, after = text[position], text[:position], text[position + 1 :]
    if char in _OPENING:
        return not before[-1:].isalpha()
    if char == "’" and (contraction := _LETTERS.match(after)):
        elided = _LETTERS.search(before[-3:])
        return contraction[0].lower() in _CONTRACTIONS or (elided is not None and len(elided[0]) <= _ELIDED)
    return not after[:1].isalpha()


def _joined(words: list[bytes], encoding: CodePage) -> str:
    return " ".join(word.decode(encoding.name, "replace") for word in words)


def _plausible(word: str, encoding: CodePage) -> list[str]:
    """Return the letters of a word beyond ASCII that may stand where they do, in lower case."""
    foreign = [char for char in word if not char.isascii()]
    if encoding.languages in (_WESTERN, _CENTRAL):
        if max((len(run) for run in re.findall(r"[^\x00-\x7f]+", word)), default=0) > _LONGEST_RUN:
            return []
        misplaced = {char for char, form in _NEIGHBOURS.items() if not form.search(word.lower())}
        return [
            char.lower()
            for before, char in zip(" " + word, word, strict=False)
            if not char.isascii() and not (before.islower() and char.isupper()) and char.lower() not in misplaced
        ]
    if len(foreign) < len(word):  # Cyrillic and Japanese words have no Latin letters
        return []
    if encoding.languages:
        return [char.lower() for char in foreign]
    return [char for char in foreign if "぀" <= char <= "鿿"]
