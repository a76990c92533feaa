"""Texts in 20 scripts, on which token ids are held against the `tokenizers` library."""

import unicodedata

TEXTS = {
    "latin": "Café crème, naïve Pokémon; jalapeño! Straße ÆØÅ İstanbul ﬁne Ñandú 12½ cm O'Brien's",
    "vietnamese": "Điện thoại rẻ nhất ở Việt Nam",
    "greek": "Ο μεγάλος Οδυσσέας ΟΔΟΣ άνθρωπος",
    "cyrillic": "Ёлка и йогурт — Україна, їжак",
    "armenian": "Բարև ձեզ և բարի լույս",
    "georgian": "ქართული ენა ᲗᲑᲘᲚᲘᲡᲘ",
    "hebrew": "שָׁלוֹם עולם",
    "arabic": "مُحَمَّد كتابٌ جديد، أحمد",
    "persian": "می‌خواهم کتاب",  # a zero-width non-joiner within the word
    "devanagari": "हिन्दी में कीमत क्ष",
    "bengali": "বাংলা ভাষা ক্ষুদ্র",
    "tamil": "தமிழ் மொழி கொள்",
    "telugu": "తెలుగు భాష",
    "malayalam": "മലയാളം ചൊല്ല്",
    "thai": "ภาษาไทยไม่มีช่องว่างระหว่างคำจึงยาวมากและเกินกว่าที่บางโปรแกรมจะตัดคำได้",  # one word of 213 bytes
    "khmer": "ភាសាខ្មែរ",
    "han": "中文分词很简单 豈〇㐀𠀀",
    "japanese": "日本語のテキスト、ガギグ パーティー",
    "korean": "한국어 문장 값",
    "ethiopic": "አማርኛ ቋንቋ",
    "cherokee": "ᏣᎳᎩ ꮳꮃꭹ",
    "odd": "no\u00a0break soft\u00adhyphen zero\u200bwidth tab\tend\u2028line \ufffd 😀👍🏽 a\u0301 x\u0007y [SEP] [CLS]a ",
}


def uncased(text: str) -> str:
    """Returns a text as an uncased encoder was pre-trained on it: without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn").lower()
