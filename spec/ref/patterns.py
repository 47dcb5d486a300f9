"""What Python's re says of random expressions and texts: patterns.lua, rows of
{ expression, text, search, fullmatch }; expressions that re refuses have no text."""
import random
import re
from luawrite import lua

random.seed(7)
ATOMS = ["a", "b", "c", "/", "_", "1", ".", r"\d", r"\w", r"\W", r"\s", "[ab]", "[^a]", "[a-c1]", r"[\d_]",
         "[^/]", r"\.", "é", r"\x61", "(?:ab)", "dense", "kernel"]
FIXED = ["^", "$", r"\b", r"\B", r"\A", r"\Z"]
COUNTS = ["", "", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{2,}", "{,1}"]


def expression(depth):
    parts = []
    for _ in range(random.randint(1, 4)):
        kind = random.random()
        if kind < 0.12:
            parts.append(random.choice(FIXED))
        elif kind < 0.3 and depth > 0:
            inside = expression(depth - 1)
            parts.append("(" + inside + ")" + random.choice(COUNTS))
        elif kind < 0.38 and depth > 0:
            parts.append(random.choice(["(?=", "(?!"]) + expression(depth - 1) + ")")
        elif kind < 0.42:
            parts.append(random.choice(["(?<=", "(?<!"]) + random.choice(["a", "b", "/", "[ab1]", "_"]) + ")")
        else:
            parts.append(random.choice(ATOMS) + random.choice(COUNTS))
    text = "".join(parts)
    return text + "|" + expression(0) if random.random() < 0.15 else text


def text():
    words = ["a", "b", "c", "ab", "/", "_", "1", "dense", "kernel", ".", " ", "é", "\n", "A", "bias", "dense_1"]
    return "".join(random.choice(words) for _ in range(random.randint(0, 6)))


rows = []
while len(rows) < 1500:
    e = expression(2)
    if random.random() < 0.1:
        e = random.choice(["(?i)", "(?s)", "(?m)"]) + e
    if random.random() < 0.04:  # damaged
        at = random.randrange(len(e))
        e = e[:at] + random.choice("()[]*+?{}\\|") + e[at + 1:]
    try:
        r = re.compile(e)
    except re.error:
        rows.append([e])
        continue
    except OverflowError:
        continue
    if re.search(r"[*+?}]\+", e) or re.search(r"\\[1-9]", e):
        continue  # possessive counts and references are not read
    for _ in range(3):
        t = text()
        rows.append([e, t, r.search(t) is not None, r.fullmatch(t) is not None])
with open("patterns.lua", "w") as f:
    f.write("-- Made by spec/ref/patterns.py from Python's re; do not edit.\nreturn {\n")
    for row in rows:
        f.write("  " + lua(row) + ",\n")
    f.write("}\n")
