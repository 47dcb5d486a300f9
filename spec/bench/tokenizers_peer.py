"""Hugging Face's tokenizers on one thread, for spec/bench/tokenizers.lua: trains a tokenizer on a file where there is none yet, then
encodes the file's paragraphs and prints the seconds of the processor that the best of some rounds took. Args: FAMILY JSON TEXT ROUNDS"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

family, path, text, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
paragraphs = [p for p in open(text, encoding="utf-8", errors="replace").read().split("\n\n") if p.strip()]
if not os.path.exists(path):
    if family == "gpt2":
        t = Tokenizer(models.BPE())
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.post_processor = processors.ByteLevel(trim_offsets=True)
        trainer = trainers.BpeTrainer(vocab_size=30000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    elif family == "bert":
        t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer()
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=30000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)
    else:
        t = Tokenizer(models.Unigram())
        t.normalizer = normalizers.NFKC()
        t.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=8000, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    t.train_from_iterator(paragraphs[:4000] if family == "unigram" else paragraphs, trainer)
    if family == "bert":
        t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.save(path)
t = Tokenizer.from_file(path)
best, total = 1e9, 0
for _ in range(rounds):
    start = time.process_time()
    ids = [e.ids for e in t.encode_batch(paragraphs)]
    best = min(best, time.process_time() - start)
    total = sum(map(len, ids))
print(best, len(ids), total)
