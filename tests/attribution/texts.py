"""Texts to test with: many scripts, code points at every edge, and strategies that mix them."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st

from tests.attribution.oracles import GAPS, SINGLES

SCRIPTS: Final = {
    "English": "The ledger's entries, once signed, are never edited; Entries_2 follow.",
    "French": "Déjà vu : l'été, où l'œuvre naïve coûte 3,50 €.",
    "German": "Straße, GRÖSSE und Übermaß – »alles« fließt.",
    "Greek": "Ὁ βίος βραχύς, ἡ δὲ τέχνη μακρή.",
    "Russian": "Съешь ещё этих мягких французских булок, да выпей же чаю.",
    "Arabic": "العقل السليم في الجسم السليم، ١٢٣٤.",
    "Hebrew": "כל הדרכים מובילות לרומא.",
    "Hindi": "सत्यमेव जयते। नानृतं १२३।",
    "Chinese": "天地玄黃,宇宙洪荒。日月盈昃,辰宿列張。",
    "Japanese": "いろはにほへと ちりぬるを、カタカナと漢字。",
    "Korean": "모든 사람은 평등하다. 한글 낱말.",
    "Thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "Lao": "ພາສາລາວ ງາມ",
    "Burmese": "မြန်မာစာ ၁၂၃",
    "Khmer": "ភាសាខ្មែរ ១២៣",
    "Tibetan": "བོད་ཡིག དབྱངས",
    "emoji": "ok 👩‍👩‍👧‍👦 fine 🇫🇷 ☃️ ❤️ 1️⃣",
    "control characters": "a\x00b\x1bc\td\re\x7ff\x85g\u200bh\u2028i\ufeffj",
    "fullwidth": "ＡＢＣ ０１２ ！？ ｶﾀｶﾅ",
    "combining": "e\u0301te\u0301 a\u0308 x\u20d7",
    "decomposed and composed": "\u00e9 e\u0301 \u212b \u00c5 ﬁ fi",
    "rare": "\U00010000 \U0001d54f \U0010ffff \ue000 \uffff \ufdd0",
}

NOT_UTF8: Final = {
    "a lone continuation byte": b"one \x80 two",
    "an overlong slash": b"one \xc0\xaf two",
    "an overlong zero": b"\xe0\x80\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "past the last code point": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "a cut character at the end": "été".encode()[:-1],
    "a cut character before a letter": b"\xc3a",
    "latin-1": "déjà".encode("latin-1"),
    "utf-16": "déjà".encode("utf-16"),
    "four continuation bytes": b"\xf0\x90\x80\x80\x80",
    "a byte that UTF-8 never has": b"abc\xff",
}

EDGES: Final = sorted(
    {
        point
        for first, last in (*SINGLES, *GAPS, (0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
        for point in (first - 1, first, last, last + 1)
        if point <= 0x10FFFF
    }
    | {0x7F, 0x80, 0xD7, 0xF7, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF}
)

chars = st.one_of(
    st.sampled_from([chr(point) for point in EDGES]),
    st.sampled_from("aZ_09 .\n\x00"),
    st.characters(exclude_categories=["Cs"]),
)
mixed_texts = st.one_of(
    st.lists(chars, max_size=80).map("".join),
    st.builds(lambda a, n, b: a * n + b, chars, st.integers(60, 200), chars),
    st.sampled_from(sorted(SCRIPTS.values())),
)
