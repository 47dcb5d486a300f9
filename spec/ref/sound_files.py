"""Reference values of sound files and sampling rates: writes spec/ref/sound_files.lua.

Files by scipy.io.wavfile, TensorFlow (encode_wav, decode_wav), CPython's wave and audioop (24 bits, A-law, mu-law) and
libsndfile (extensible headers, RF64, formats of others); other rates by libsamplerate's src_simple, called directly. The
files themselves, for the fuzzer: spec/ref/sound_files/.
Run: python3.11 spec/ref/sound_files.py   (TensorFlow 2, SciPy, libsndfile 1.2, libsamplerate 0.2)
"""
import audioop, ctypes, ctypes.util, io, os, struct, tempfile, wave
import numpy as np
import tensorflow as tf
from scipy.io import wavfile

rng = np.random.default_rng(14)
rate, shape = 11025, (7, 2)
x = rng.uniform(-1, 1, shape)
x[0] = [1.0, -1.0]
i16 = np.clip(np.round(x * 32768), -32768, 32767).astype(np.int16)
sf = ctypes.CDLL("libsndfile.so.1")
src = ctypes.CDLL("libsamplerate.so.0")


class SF_INFO(ctypes.Structure):
    _fields_ = [("frames", ctypes.c_int64)] + [(n, ctypes.c_int) for n in "samplerate channels format sections seekable".split()]


sf.sf_open.restype = ctypes.c_void_p
sf.sf_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(SF_INFO)]
sf.sf_close.argtypes = [ctypes.c_void_p]
for name, kind in (("float", ctypes.c_float), ("double", ctypes.c_double), ("short", ctypes.c_short)):
    for verb in ("readf", "writef"):
        f = getattr(sf, "sf_%s_%s" % (verb, name))
        f.restype, f.argtypes = ctypes.c_int64, [ctypes.c_void_p, ctypes.POINTER(kind), ctypes.c_int64]


def by_sndfile(fmt, data):
    """The bytes of a file of libsndfile's; data int16 or float64."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x")
        info = SF_INFO(samplerate=rate, channels=shape[1], format=fmt)
        f = sf.sf_open(path.encode(), 0x20, info)
        assert f, hex(fmt)
        data = np.ascontiguousarray(data)
        if data.dtype == np.int16:
            sf.sf_writef_short(f, data.ctypes.data_as(ctypes.POINTER(ctypes.c_short)), len(data))
        else:
            sf.sf_writef_double(f, data.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), len(data))
        sf.sf_close(f)
        return open(path, "rb").read()


def read_sndfile(data):
    with tempfile.NamedTemporaryFile() as t:
        t.write(data), t.flush()
        info = SF_INFO()
        f = sf.sf_open(t.name.encode(), 0x10, info)
        assert f
        out = np.zeros((info.frames, info.channels), np.float64)
        sf.sf_readf_double(f, out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)), info.frames)
        sf.sf_close(f)
        return out


def by_scipy(data):
    out = io.BytesIO()
    wavfile.write(out, rate, data)
    return out.getvalue()


def by_wave(data, width):
    out = io.BytesIO()
    with wave.open(out, "wb") as w:
        w.setnchannels(shape[1]), w.setsampwidth(width), w.setframerate(rate)
        w.writeframes(data)
    return out.getvalue()


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def riff(*chunks, head=b"RIFF", size=None):
    body = b"WAVE" + b"".join(chunks)
    return head + struct.pack("<I", len(body) if size is None else size) + body


def fmt(kind, channels, bits, block=None):
    block = block or channels * ((bits + 7) // 8)
    return chunk(b"fmt ", struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits))


i24 = np.clip(np.round(x * 2**23), -2**23, 2**23 - 1).astype(np.int32)
b24 = b"".join(int(v).to_bytes(3, "little", signed=True) for v in i24.ravel())
law = {k: getattr(audioop, "lin2" + k)(i16.tobytes(), 2) for k in ("alaw", "ulaw")}
unlaw = {k: np.frombuffer(getattr(audioop, k + "2lin")(v, 2), np.int16).reshape(shape) for k, v in law.items()}
i20 = (i24 >> 4) << 4
b20 = b"".join(int(v).to_bytes(3, "little", signed=True) for v in i20.ravel())

files = []  # name, bytes, encoding, samples as float64, whole numbers or None


def add(name, data, encoding, want, whole=None, judge=None):
    if judge:  # a second program says the same
        assert np.allclose(judge(data), want, atol=1e-7), name
    files.append((name, data, encoding, np.asarray(want, np.float64), whole))


def decode_wav(data):
    return tf.audio.decode_wav(data)[0].numpy()


u8 = (np.clip(np.round(x * 128), -128, 127) + 128).astype(np.uint8)
i32 = np.clip(np.round(x * 2**31), -2**31, 2**31 - 1).astype(np.int32)
add("8 bits", by_scipy(u8), "pcm_u8", (u8.astype(float) - 128) / 128, u8, read_sndfile)
add("16 bits, TensorFlow", tf.audio.encode_wav(x.astype(np.float32), rate).numpy(), "pcm_16", i16 / 32768, i16, decode_wav)
add("16 bits, SciPy", by_scipy(i16), "pcm_16", i16 / 32768, i16, decode_wav)
add("24 bits", by_wave(b24, 3), "pcm_24", i24 / 2**23, i24, read_sndfile)
add("32 bits", by_scipy(i32), "pcm_32", i32 / 2**31, i32, read_sndfile)
add("floats", by_scipy(x.astype(np.float32)), "float_32", x.astype(np.float32), None, read_sndfile)
add("doubles", by_scipy(x), "float_64", x, None, read_sndfile)
add("20 bits in 24", riff(fmt(1, 2, 20, 6), chunk(b"data", b20)), "pcm_24", i20 / 2**23, i20 >> 4)
add("A-law", riff(fmt(6, 2, 8), chunk(b"data", law["alaw"])), "a_law", unlaw["alaw"] / 32768, unlaw["alaw"], read_sndfile)
add("mu-law", riff(fmt(7, 2, 8), chunk(b"data", law["ulaw"])), "mu_law", unlaw["ulaw"] / 32768, unlaw["ulaw"], read_sndfile)
add("extensible, 16 bits", by_sndfile(0x130002, i16), "pcm_16", i16 / 32768, i16, read_sndfile)
add("extensible, floats", by_sndfile(0x130006, x), "float_32", x.astype(np.float32), None, read_sndfile)
add("RF64", by_sndfile(0x220002, i16), "pcm_16", i16 / 32768, i16, read_sndfile)
data = i16.tobytes()
add("other chunks, odd ones too", riff(chunk(b"LIST", b"abc"), fmt(1, 2, 16), chunk(b"fact", b"\7\0\0\0"), chunk(b"data", data),
    chunk(b"id3 ", b"x")), "pcm_16", i16 / 32768, i16, read_sndfile)
add("streamed: sizes that nobody knew", riff(fmt(1, 2, 16), b"data\xff\xff\xff\xff" + data, size=0xFFFFFFFF), "pcm_16",
    i16 / 32768, i16)
add("no sample", riff(fmt(1, 1, 16), chunk(b"data", b"")), "pcm_16", np.zeros((0, 1)))

packed = []  # formats that libsndfile reads: name, bytes, format, encoding, samples
for name, number, encoding in (("flac", 0x170002, "pcm_16"), ("flac", 0x170003, "pcm_24"), ("aiff", 0x020002, "pcm_16"),
                               ("au", 0x030006, "float_32"), ("wav", 0x010012, "ima_adpcm"), ("ogg", 0x200060, "vorbis")):
    data = by_sndfile(number, x)
    packed.append((name, data, name, encoding, read_sndfile(data)))

# -- laws: what all 256 bytes are --
every = bytes(range(256))
levels = {k: np.frombuffer(getattr(audioop, k + "2lin")(every, 2), np.int16) for k in ("alaw", "ulaw")}


# -- rates --
class SRC_DATA(ctypes.Structure):
    _fields_ = [("i", ctypes.c_void_p), ("o", ctypes.c_void_p), ("n", ctypes.c_long), ("room", ctypes.c_long),
                ("used", ctypes.c_long), ("made", ctypes.c_long), ("last", ctypes.c_int), ("ratio", ctypes.c_double)]


def simple(y, a, b, quality):
    y = np.ascontiguousarray(y, np.float32)
    count = -(-len(y) * b // a)
    out = np.zeros((count, y.shape[1]), np.float32)
    d = SRC_DATA(y.ctypes.data, out.ctypes.data, len(y), count, 0, 0, 0, b / a)
    assert src.src_simple(ctypes.byref(d), quality, y.shape[1]) == 0
    return out


def wave_of(n):  # the formula that the spec repeats
    t = np.arange(n)
    return np.stack([np.sin(0.05 * t), np.cos(0.021 * t) * 0.5], 1)


rates = [(a, b, n, q, simple(wave_of(n), a, b, q)) for a, b, n, q in (
    (8000, 16000, 40, 0), (44100, 16000, 90, 0), (16000, 11025, 60, 1), (8000, 22050, 20, 2), (8000, 12000, 20, 3), (8000, 12000, 20, 4))]
# longer than what is converted at a time: sums of magnitudes, a few samples
far = [(a, b, n, q, simple(wave_of(n), a, b, q)) for a, b, n, q in ((16000, 8000, 50000, 0), (8000, 11025, 30000, 2))]


def numbers(v, digits=9):
    return "{ " + ", ".join(("%.*g" % (digits, float(e))) for e in np.asarray(v).ravel()) + " }"


def text(b):
    return '"' + "".join("\\x%02x" % c for c in b) + '"'


def wrap(line, indent="    "):
    out, row = [], ""
    for word in line.split(" "):
        if len(row) + len(word) > 80:
            out.append(row.rstrip())
            row = indent
        row += word + " "
    return "\n".join(out + [row.rstrip()])


def hexed(b):  # in pieces, so that lines stay short
    pieces = [text(b[i:i + 20]) for i in range(0, len(b), 20)] or ['""']
    return "table.concat {\n    " + ",\n    ".join(pieces) + " }"


folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sound_files")
os.makedirs(folder, exist_ok=True)
for name, data, *_ in files:
    open(os.path.join(folder, "".join(c if c.isalnum() else "_" for c in name) + ".wav"), "wb").write(data)

lines = ["-- Made by sound_files.py with TensorFlow %s." % tf.__version__, "return {", "  rate = %d," % rate, "  x = %s," %
         wrap(numbers(x, 17)), "  files = {"]
for name, data, encoding, want, whole in files:
    lines.append('  { name = "%s", encoding = "%s", channels = %d,\n    bytes = %s,\n    samples = %s,' %
                 (name, encoding, want.shape[1], hexed(data), wrap(numbers(want, 17))))
    lines.append(wrap("    whole = %s }," % numbers(whole, 17)) if whole is not None else "  },")
lines += ["  },", "  packed = {"]
for name, data, fmt_, encoding, want in packed:
    lines.append('  { name = "%s", encoding = "%s",\n    bytes = %s,\n    samples = %s },' %
                 (fmt_, encoding, hexed(data), wrap(numbers(want))))
lines += ["  },", "  levels = {"]
lines += ["    %s = %s," % (k, wrap(numbers(v))) for k, v in (("a_law", levels["alaw"]), ("mu_law", levels["ulaw"]))]
lines += ["  },", "  rates = {"]
for a, b, n, q, y in rates:
    lines.append("  { from = %d, to = %d, n = %d, quality = %d,\n    samples = %s }," % (a, b, n, q, wrap(numbers(y))))
lines += ["  },", "  far = {"]
for a, b, n, q, y in far:
    at = np.linspace(0, len(y) - 1, 25).astype(int)
    lines.append("  { from = %d, to = %d, n = %d, quality = %d, count = %d, sum = %.9g,\n    at = %s,\n    samples = %s }," %
                 (a, b, n, q, len(y), np.abs(y.astype(np.float64)).sum(), wrap(numbers(at + 1)), wrap(numbers(y[at]))))
lines += ["  },", "}"]
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sound_files.lua"), "w").write("\n".join(lines) + "\n")
