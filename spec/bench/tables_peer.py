"""Makes CSV files and times pandas on them for spec/bench/tables.lua: `tables_peer.py make FOLDER` writes the files, `tables_peer.py time FOLDER`
prints a line "NAME SECONDS" for each: the best of three readings, in seconds of the processor."""
import os
import sys
import time

import numpy as np
import pandas as pd

what, folder = sys.argv[1:3]
NAMES = ["mixed", "floats", "decimals", "integers", "words"]
if what == "make":
    rng, n = np.random.RandomState(0), 600000
    frames = {
        "mixed": {"id": np.arange(n), "x": rng.randn(n), "y": np.round(rng.rand(n) * 100, 3), "k": rng.randint(0, 1000, n),
                  "name": rng.choice(["alpha", "beta", "gamma", "delta"], n), "note": ["row %d%s" % (i, ', "q"' if i % 10 == 0 else "") for i in range(n)],
                  "z": rng.rand(n).astype("f4"), "flag": rng.rand(n) > .5},
        "floats": {"c%d" % i: rng.randn(400000) for i in range(8)},
        "decimals": {"c%d" % i: np.round(rng.randn(400000), 4) for i in range(12)},
        "integers": {"c%d" % i: rng.randint(0, 100000, n) for i in range(10)},
        "words": {c: rng.choice(["word%d" % i for i in range(5000)], n) for c in "abcdef"},
    }
    for name in NAMES:
        pd.DataFrame(frames[name]).to_csv(os.path.join(folder, name + ".csv"), index=False)
else:
    for name in NAMES:
        best = 1e9
        for _ in range(3):
            begun = time.process_time()
            pd.read_csv(os.path.join(folder, name + ".csv"))
            best = min(best, time.process_time() - begun)
        print(name, best)
