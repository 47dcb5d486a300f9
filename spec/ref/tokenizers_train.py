"""What Hugging Face's trainers learn from the texts of multilingual.py (another seed) for the tokenizers whose training leaves nothing
to chance: digests of vocabulary and merges, as tokenizers_train.lua. Run: python tokenizers_train.py"""
import json
import os
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from multilingual import texts
from tokenizers_files import LLAMA3, crc

TEXTS = [s.replace("\x00", "\x01") for s in texts()]


def bytes_of(pattern, size, **o):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False) if not pattern else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, **o))
    return t


def plain(size, **o):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=size, show_progress=False, **o))
    return t


def words(size, **o):
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.pre_tokenizer = pre_tokenizers.Whitespace()
    t.train_from_iterator(TEXTS, trainers.WordLevelTrainer(vocab_size=size, special_tokens=["[UNK]"], show_progress=False, **o))
    return t


ROWS = [("ByteLevelBPE", {}, lambda o: bytes_of(None, **o), {"size": 600}), ("ByteLevelBPE", {}, lambda o: bytes_of(None, **o), {"size": 3000, "min_frequency": 4}),
        ("ByteLevelBPE", {}, lambda o: bytes_of(None, **o), {"size": 900, "max_token_length": 5}), ("llama3", {}, lambda o: bytes_of(LLAMA3, **o), {"size": 700}),
        ("BPE", {}, lambda o: plain(**o), {"size": 1500}), ("BPE", {}, lambda o: plain(**o), {"size": 900, "min_frequency": 9}), ("WordLevel", {}, lambda o: words(**o), {"size": 300}),
        ("WordLevel", {}, lambda o: words(**o), {"size": 3000, "min_frequency": 3})]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizers_train.lua"), "w") as f:
    f.write("-- Made by spec/ref/tokenizers_train.py from the real library; do not edit.\nreturn {\n")
    for name, _, make, o in ROWS:
        t = make(o)
        m = json.loads(t.to_str())["model"]
        vocab = "\n".join("%s %d" % p for p in sorted(m["vocab"].items(), key=lambda p: p[1]))
        merges = "\n".join("%s %s" % tuple(p) for p in m.get("merges", []))
        f.write('  { "%s", { vocab_size = %d%s }, %d, "%s", "%s" },\n' % (name, o["size"], "".join(", %s = %d" % p for p in o.items() if p[0] != "size"), len(m["vocab"]),
                                                                      crc(vocab.encode()), crc(merges.encode())))
    f.write("}\n")
