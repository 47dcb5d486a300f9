"""Text in many scripts, made by a fixed generator from short word lists, and strings that hurt: what tokenizers are compared on."""
import random

WORDS = {
    "latin": "the quick brown fox jumps over lazy dogs and it's what we've don't I'll they're she'd naïve café Straße ÉCOLE œuvre İstanbul ĳssel ﬁnal ﬂow Ångström señor coöperate x² ½ 1st 2,345.67 3.14e-10 https://example.org/a_b?c=d#e user@mail.com".split(),
    "greek": "Η γρήγορη καφέ αλεπού πηδάει ΟΔΥΣΣΕΥΣ Σίσυφος λόγος ἄνθρωπος ᾠδή ΆΈΉ ϊΰ ς σ τέλος;".split(),
    "cyrillic": "Съешь же ещё этих мягких французских булок да выпей чаю Йод ЁЛКА їжак ґанок ѝ №5 ўсё Ќ".split(),
    "hebrew": "שָׁלוֹם עולם אני אוהב ללמוד עִבְרִית יְרוּשָׁלַיִם ״ציטוט״ ספר׳".split(),
    "arabic": "مرحبا بالعالم اَلْعَرَبِيَّةُ لُغَةٌ جميلة ١٢٣٤ ﷺ ﻻ کتاب، گفت؟ ـمـدـ".split(),
    "devanagari": "नमस्ते दुनिया क्षत्रिय ज़िन्दगी हिन्दी में लिखना १२३ ॥ श्रीमान् किताबें ऑफ़िस".split(),
    "bengali": "আমার সোনার বাংলা আমি তোমায় ভালোবাসি ৪৫৬ কো কৌ ড়".split(),
    "thai": "สวัสดีชาวโลก ภาษาไทย ๗๘๙ น้ำ เก้าอี้ ก็ ฿100".split(),
    "han": "你好，世界！ 我爱自然语言处理 漢字 東京都 人工智慧 《红楼梦》 一二三 ０１２ＡＢＣ 豈 更 𠀀𠮷 ㍿".split(),
    "kana": "こんにちは世界 カタカナ ﾊﾝｶｸｶﾅ がぎぐげご パピプペポ ゝ ー きゃっと ㌔ ｢引用｣".split(),
    "hangul": "안녕하세요 세계 한국어 조선글 각 갂 힣 ㄱㄴㄷ 값어치 １２３".split(),
    "emoji": "😀 👨‍👩‍👧‍👦 🏳️‍🌈 ❤️ 👍🏽 🇫🇷 ☃ ™ © → ∑ √2 ≠ … — – “quote” ‘x’ «y» ¿qué? ¡ay!".split(),
    "tamil": "வணக்கம் உலகம் தமிழ் கொடு கௌ ௧௨௩".split(),
    "georgian": "გამარჯობა მსოფლიო ქართული ᲐᲑᲒ ԲԱՐԵՎ աշխարհ և".split(),
}
HARD = ["", " ", "  ", "\n", "\t\n  x", " a", "a ", "  a  b  ", "a\r\nb\u00a0c\u2003d\u3000e", "\u200b\u200dx\ufeffy", "\x00a\x01\x7f\x85b",
        "a" * 300, "ab" * 200, "xyz" * 60 + " w", "\ufffd", "e\u0301 n\u0303 a\u0328\u0301 o\u0302\u0323", "Å \u212b \u03a9 \u2126", "ﬀ ﬃ ℌ ① ⑳ ㎏ ª º",
        "i\u0307 İ I ı ſ ẞ ß", "\U0001d400\U0001d7d8 \U00010400\U00010428", "\ue000\U000f0000 \u0378 \uffff", "don't DON'T can't've 'tis rock'n'roll ''s '", "1234567890 12 123 1,000,000 ٣٤ Ⅷ ½²",
        "hello_world snake_case CamelCase kebab-case a.b.c __init__ ==!=<=>= #$%^&*()[]{}|\\/~`", "[CLS] [SEP] [MASK] [UNK] [PAD] <s></s><unk> <|endoftext|>x <|endoftext|>",
        "A[MASK]B [MASK]. x <mask> y  <mask>z", "▁a▁b ▁▁ _", "\u1100\u1161\u11a8 \uac01 \u0958 \u09dc", "e" + "\u0301\u0323" * 20, "\u0301a", "\u00ad\u2028\u2029\u180ex"]


def texts(n=2400, seed=7):
    """n strings: the hard ones, sentences of one script, and of several mixed."""
    r = random.Random(seed)
    out = list(HARD)
    names = sorted(WORDS)
    while len(out) < n:
        k = names[len(out) % len(names)]
        words = []
        for _ in range(r.choice([1, 3, 6, 12, 20])):
            w = r.choice(WORDS[k if r.random() < 0.8 else r.choice(names)])
            c = r.random()
            w = w.upper() if c < 0.08 else w.capitalize() if c < 0.16 else w.swapcase() if c < 0.18 else w
            if r.random() < 0.15:
                w += r.choice(list(",.!?;:…。、") + ["...", "?!", ")", "'s"])
            words.append(w)
        sep = [" ", " ", " ", "", "  ", "\n", "\t", " - "]
        s = words[0]
        for w in words[1:]:
            s += r.choice(sep) + w
        out.append(s)
    return out


def corpus(seed=1, n=3000):
    return texts(n, seed)[len(HARD):]
