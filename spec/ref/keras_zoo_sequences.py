"""The recurrent, attention, Einsum, wrapper and mixed-precision part of the zoo (spec/ref/keras_zoo.py)."""
import keras
from keras import constraints, layers as L, ops, optimizers, regularizers

from keras_models import fill, wave

Policy = keras.DTypePolicy


def rows(name, table):
    def build():
        ins, outs = [], []
        for i, (layer, shape, *dtype) in enumerate(table()):
            x = L.Input(shape, name="in%d" % i, dtype=dtype[0] if dtype else None)
            y = layer(x)
            ins.append(x)
            outs += list(y) if isinstance(y, (list, tuple)) else [y]
        return keras.Model(ins, outs, name=name)
    return build


S = (5, 3)

seq_lstm = rows("seq_lstm", lambda: [
    (L.LSTM(4), S),
    (L.LSTM(3, return_sequences=True, go_backwards=True), S),
    (L.LSTM(3, return_state=True, use_bias=False), S),
    (L.LSTM(2, activation="relu", recurrent_activation="hard_sigmoid", unit_forget_bias=False, unroll=True), S),
    (L.LSTM(2, activation=None, dropout=0.2, recurrent_dropout=0.3, seed=4, return_sequences=True, return_state=True), S),
    (L.LSTM(2, kernel_regularizer="l2", recurrent_constraint=constraints.MaxNorm(0.5), bias_initializer="ones", activity_regularizer="l1", use_cudnn=False), S),
])

seq_gru = rows("seq_gru", lambda: [
    (L.GRU(4), S),
    (L.GRU(3, reset_after=False, return_sequences=True), S),
    (L.GRU(3, go_backwards=True, return_state=True, use_bias=False), S),
    (L.GRU(2, reset_after=False, use_bias=False, activation="softsign", recurrent_activation="linear"), S),
    (L.GRU(2, dropout=0.2, recurrent_regularizer=regularizers.L1L2(0.1, 0.2), bias_constraint="non_neg"), S),
])

seq_simple = rows("seq_simple", lambda: [
    (L.SimpleRNN(4), S),
    (L.SimpleRNN(3, activation="sigmoid", return_sequences=True, return_state=True, go_backwards=True), S),
    (L.SimpleRNN(3, use_bias=False, activation=None, trainable=False), S),
])


def seq_cells():
    x = L.Input(S, name="x")
    a = L.RNN(L.LSTMCell(3, unit_forget_bias=False, name="own_cell"), return_sequences=True, name="a")(x)
    b = L.RNN([L.GRUCell(4, reset_after=False), L.LSTMCell(3), L.SimpleRNNCell(2, use_bias=False)], return_state=True, name="b")(x)
    c = L.RNN(L.StackedRNNCells([L.LSTMCell(2), L.GRUCell(3)]), go_backwards=True, return_sequences=True, zero_output_for_mask=True)(a)
    return keras.Model(x, [a, b[0], c] + [t for s in b[1:] for t in (s if isinstance(s, (list, tuple)) else [s])], name="seq_cells")


def seq_encoder_decoder():
    e = L.Input((None, 3), name="e"); d = L.Input((4, 2), name="d")
    _, h, c = L.LSTM(4, return_state=True, name="encoder")(e)
    y, _, _ = L.LSTM(4, return_sequences=True, return_state=True, name="decoder")(d, initial_state=[h, c])
    return keras.Model([e, d], L.Dense(3, activation="softmax")(y), name="seq_encoder_decoder")


def seq_gru_translator():
    e = L.Input((6,), dtype="int32", name="e"); d = L.Input((4,), dtype="int32", name="d")
    table = L.Embedding(20, 4, mask_zero=True, name="table")
    _, h = L.GRU(5, return_state=True, name="encoder")(table(e))
    y = L.GRU(5, return_sequences=True, name="decoder")(table(d), initial_state=h)
    return keras.Model([e, d], L.TimeDistributed(L.Dense(7, name="out"), name="td")(y), name="seq_gru_translator")


def seq_bidirectional():
    x = L.Input(S, name="x")
    y = L.Bidirectional(L.LSTM(4, return_sequences=True), name="one")(x)
    y = L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum")(y)
    y = L.Bidirectional(L.SimpleRNN(3, return_sequences=True), merge_mode="mul")(y)
    y = L.Bidirectional(L.LSTM(2, name="fw"), merge_mode="ave")(y)
    return keras.Model(x, y, name="seq_bidirectional")


def seq_bidirectional_parts():
    x = L.Input(S, name="x")
    a, b = L.Bidirectional(L.GRU(3), merge_mode=None, name="none")(x)
    c = L.Bidirectional(L.LSTM(3, return_sequences=True), backward_layer=L.LSTM(3, return_sequences=True, go_backwards=True, activation="relu", name="other"))(x)
    d = L.Bidirectional(L.RNN(L.GRUCell(2)))(x)
    return keras.Model(x, [a, b, c, d], name="seq_bidirectional_parts")


def seq_bidirectional_states():
    e = L.Input((4, 3), name="e"); d = L.Input((5, 3), name="d")
    y, *states = L.Bidirectional(L.LSTM(3, return_state=True), name="enc")(e)
    z = L.Bidirectional(L.LSTM(3, return_sequences=True), name="dec")(d, initial_state=states)
    return keras.Model([e, d], [y, z], name="seq_bidirectional_states")


def seq_masking():
    i = L.Input((6,), dtype="int32", name="tok"); x = L.Input((4, 3), name="x")
    e = L.Embedding(20, 4, mask_zero=True)(i)
    a = L.LSTM(3, return_sequences=True)(e)
    a = L.Bidirectional(L.GRU(3, return_sequences=True))(a)
    a = L.TimeDistributed(L.Dense(4, activation="tanh"))(a)
    a = L.SimpleRNN(3)(a)
    m = L.Masking(0.0)(x)
    b = L.RNN(L.GRUCell(3), return_sequences=True, zero_output_for_mask=True)(m)
    return keras.Model([i, x], [a, L.GlobalAveragePooling1D()(b)], name="seq_masking")


def seq_stateful():
    x = L.Input(batch_shape=(2, 4, 3), name="x")
    y = L.LSTM(3, stateful=True, return_sequences=True)(x)
    y = L.GRU(2, stateful=True)(y)
    return keras.Model(x, y, name="seq_stateful")


seq_conv = rows("seq_conv", lambda: [
    (L.ConvLSTM1D(3, 2, padding="same", return_sequences=True), (3, 5, 2)),
    (L.ConvLSTM2D(2, (2, 3), strides=(1, 2), return_sequences=True, go_backwards=True), (3, 4, 7, 2)),
    (L.ConvLSTM2D(2, 2, padding="same", data_format="channels_first", return_state=True, unit_forget_bias=False), (2, 3, 4, 4)),
    (L.ConvLSTM2D(2, 3, dilation_rate=2, activation="relu", recurrent_activation="hard_sigmoid", use_bias=False), (2, 6, 6, 2)),
    (L.ConvLSTM3D(2, 2, padding="same", dropout=0.1), (2, 3, 3, 2, 2)),
])


def seq_video():
    x = L.Input((3, 6, 6, 2), name="x")
    cnn = keras.Sequential([L.Input((6, 6, 2)), L.Conv2D(3, 3, activation="relu"), L.BatchNormalization(), L.MaxPooling2D(2), L.Flatten()], name="cnn")
    y = L.TimeDistributed(L.Conv2D(2, 1, name="point"), name="per_frame")(x)
    y = L.TimeDistributed(cnn)(y)
    y = L.LSTM(4)(y)
    return keras.Model(x, y, name="seq_video")


def seq_shared():
    a = L.Input(S, name="a"); b = L.Input(S, name="b")
    core = keras.Sequential([L.Input(S), L.Bidirectional(L.LSTM(3, return_sequences=True)), L.GRU(4)], name="tower")
    p, q = core(a), core(b)
    return keras.Model([a, b], [ops.abs(p - q), L.Dot(axes=-1, normalize=True)([p, q])], name="seq_shared")


def seq_frozen():
    x = L.Input(S, name="x")
    base = keras.Sequential([L.Input(S), L.LSTM(3, return_sequences=True, name="below"), L.Bidirectional(L.GRU(2), name="both")], name="base")
    base.trainable = False
    return keras.Model(x, L.Dense(2)(base(x)), name="seq_frozen")


def seq_attention():
    e = L.Input((5, 3), name="e"); d = L.Input((4, 3), name="d")
    keys = L.Bidirectional(L.GRU(3, return_sequences=True))(e)
    q, _, _ = L.LSTM(6, return_sequences=True, return_state=True)(d)
    c = L.AdditiveAttention()([q, keys])
    return keras.Model([e, d], L.Dense(4, activation="softmax")(L.Concatenate()([q, c])), name="seq_attention")


Q, V = (4, 6), (5, 6)


def att_heads():
    q = L.Input(Q, name="q"); v = L.Input(V, name="v"); w = L.Input((5, 3), name="w"); g = L.Input((2, 3, 4), name="g")
    out = [
        L.MultiHeadAttention(2, 3)(q, q),
        L.MultiHeadAttention(3, 2, value_dim=4, dropout=0.1, use_bias=False, kernel_initializer="he_normal")(q, v),
        L.MultiHeadAttention(2, 4, output_shape=5, dropout=0.3, seed=3)(q, v, v),
        L.MultiHeadAttention(2, 4, output_shape=(2, 3), bias_regularizer="l2", kernel_constraint="non_neg")(q, w, v),
        L.MultiHeadAttention(2, 3, attention_axes=(1, 2))(g, g),
        L.MultiHeadAttention(2, 3, attention_axes=2, name="second_axis")(g, g),
        L.MultiHeadAttention(2, 3, flash_attention=False)(q, v, use_causal_mask=True),
    ]
    return keras.Model([q, v, w, g], out, name="att_heads")


def att_masks():
    i = L.Input((6,), dtype="int32", name="tok"); m = L.Input((6, 6), dtype="bool", name="allowed")
    table = L.Embedding(20, 4, mask_zero=True)
    e, f, g = table(i), table(i), table(i)  # Keras' layer takes the mask off the tensors that it is given
    a = L.MultiHeadAttention(2, 2)(e, e)
    b = L.MultiHeadAttention(2, 2)(f, f, attention_mask=m)
    c, s = L.MultiHeadAttention(2, 2)(g, g, use_causal_mask=True, return_attention_scores=True)
    return keras.Model([i, m], [L.GlobalAveragePooling1D()(a), b, c, s], name="att_masks")


def att_grouped():
    q = L.Input(Q, name="q"); v = L.Input(V, name="v")
    out = [
        L.GroupQueryAttention(3, 4, 2)(q, v),
        L.GroupQueryAttention(2, 4, 1, use_bias=False, dropout=0.1)(q, q, use_causal_mask=True),
        L.GroupQueryAttention(2, 2, 2, kernel_regularizer="l2")(q, v, v),
    ]
    return keras.Model([q, v], out, name="att_grouped")


def att_gates():
    q = L.Input(Q, name="q"); v = L.Input(V, name="v")
    out = [
        L.MultiHeadAttention(2, 3, use_gate=True)(q, v),
        L.MultiHeadAttention(2, 3, sliding_window=2)(q, q),
        L.GroupQueryAttention(2, 4, 2, use_gate=True)(q, v),
        L.GroupQueryAttention(2, 4, 2, sliding_window=3)(q, q, use_causal_mask=True),
    ]
    return keras.Model([q, v], out, name="att_gates")


def att_plain():
    q = L.Input(Q, name="q"); v = L.Input(V, name="v"); k = L.Input(V, name="k")
    y, s = L.Attention(use_scale=True, dropout=0.2)([q, v, k], return_attention_scores=True)
    out = [L.Attention()([q, v]), y, s, L.Attention(score_mode="concat")([q, v]), L.Attention(score_mode="concat", use_scale=True)([q, v, k]),
           L.Attention()([q, q], use_causal_mask=True), L.AdditiveAttention(use_scale=False)([q, v]), L.AdditiveAttention(dropout=0.1)([q, v, k])]
    return keras.Model([q, v, k], out, name="att_plain")


def block(x, heads, width, hidden, causal=False, memory=None, first=False, dtype=None, rate=0.1, mask=None):
    def attend(x, m, **kw):
        n = L.LayerNormalization(epsilon=1e-5, dtype=dtype)
        a = L.MultiHeadAttention(heads, width // heads, dropout=rate, dtype=dtype)
        d = L.Dropout(rate, dtype=dtype)
        if first:
            y = n(x)
            return L.Add(dtype=dtype)([x, d(a(y, y if m is None else m, **kw))])
        return n(L.Add(dtype=dtype)([x, d(a(x, x if m is None else m, **kw))]))
    x = attend(x, None, use_causal_mask=causal, **({"attention_mask": mask} if memory is None and mask is not None else {}))
    if memory is not None:
        x = attend(x, memory, attention_mask=mask)
    n = L.LayerNormalization(epsilon=1e-5, dtype=dtype)
    y = L.Dense(width, dtype=dtype)(L.Dense(hidden, activation="gelu", dtype=dtype)(n(x) if first else x))
    y = L.Add(dtype=dtype)([x, L.Dropout(rate, dtype=dtype)(y)])
    return y if first else n(y)


def att_encoder():
    x = L.Input((5, 8), name="x")
    y = block(block(x, 2, 8, 12), 4, 8, 12, first=True)
    return keras.Model(x, L.Dense(3, activation="softmax")(L.GlobalAveragePooling1D()(y)), name="att_encoder")


def att_decoder():
    e = L.Input((6,), dtype="int32", name="e"); d = L.Input((4,), dtype="int32", name="d")
    seen = ops.expand_dims(ops.not_equal(e, 0), 1)
    memory = block(L.Embedding(20, 8, name="source")(e), 2, 8, 10, mask=seen)
    y = block(L.Embedding(20, 8, name="target")(d), 2, 8, 10, causal=True, memory=memory, first=True, mask=seen)
    return keras.Model([e, d], L.Dense(20)(y), name="att_decoder")


def att_gpt():
    i = L.Input((5,), dtype="int32", name="tok")
    y = L.Add()([L.Embedding(20, 8, name="words")(i), L.Embedding(5, 8, name="places")(ops.expand_dims(ops.arange(5), 0))])
    y = L.RMSNormalization()(block(y, 2, 8, 16, causal=True, first=True))
    return keras.Model(i, L.Dense(20, use_bias=False)(y), name="att_gpt")


def att_picture():
    x = L.Input((8, 8, 3), name="x")
    y = L.Reshape((16, 8))(L.Conv2D(8, 2, strides=2, padding="valid")(x))
    y = L.Concatenate(axis=1)([L.Dense(8, use_bias=False, name="cls")(ops.mean(y, axis=1, keepdims=True)), y])
    y = block(y, 2, 8, 12, first=True)
    return keras.Model(x, L.Dense(4)(L.LayerNormalization()(y)[:, 0]), name="att_picture")


ein_rows = rows("ein_rows", lambda: [
    (L.EinsumDense("ab,bc->ac", 5, bias_axes="c", activation="relu"), (4,)),
    (L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de", kernel_regularizer="l2"), (5, 4)),
    (L.EinsumDense("abde,dec->abc", (None, 6), bias_axes=None), (5, 2, 3)),
    (L.EinsumDense("...x,xy->...y", 3, bias_axes="y"), (2, 3, 4)),
    (L.EinsumDense("ab...,bc->ac...", 3, bias_axes="c", bias_constraint="non_neg"), (4, 2)),
    (L.EinsumDense("abc,bd->adc", (6, 4), bias_axes="d", activation="tanh"), (5, 4)),
])

wrap_rows = rows("wrap_rows", lambda: [
    (L.SpectralNormalization(L.Dense(3), power_iterations=2), (4,)),
    (L.SpectralNormalization(L.Conv2D(3, 2)), (5, 4, 2)),
    (L.TimeDistributed(L.Embedding(20, 3)), (2, 3), "int32"),
    (L.TimeDistributed(L.TimeDistributed(L.Dense(2))), (2, 3, 4)),
    (L.TimeDistributed(L.LSTM(2)), (2, 4, 3)),
    (L.BatchNormalization(renorm=True, renorm_clipping={"rmax": 2.0, "rmin": 0.5, "dmax": 1.0}), (4,)),
    (L.BatchNormalization(renorm=True, renorm_momentum=0.8, scale=False), (4, 3)),
])


def mix_policies():
    x = L.Input((4, 6), name="x")
    y = L.Dense(6, dtype="mixed_bfloat16", activation="relu")(x)
    y = L.LayerNormalization(epsilon=0.1, dtype="float32")(y)
    z = L.MultiHeadAttention(2, 3, dtype=Policy("float32"))(y, y)
    z = L.LSTM(4, dtype=Policy("float32"), return_sequences=True)(z)
    return keras.Model(x, L.Dense(2, dtype="float32")(z), name="mix_policies")


def mix_map():
    x = L.Input((4, 6), name="x")
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["heads/query"] = Policy("float32")
    y = L.MultiHeadAttention(2, 3, name="heads", dtype=policies)(x, x)
    return keras.Model(x, y, name="mix_map")


MODELS = {f.__name__: f for f in [
    seq_cells, seq_encoder_decoder, seq_gru_translator, seq_bidirectional, seq_bidirectional_parts, seq_bidirectional_states, seq_masking, seq_stateful,
    seq_video, seq_shared, seq_frozen, seq_attention, att_heads, att_masks, att_grouped, att_gates, att_plain, att_encoder, att_decoder, att_gpt,
    att_picture, mix_policies, mix_map]}
MODELS.update(seq_lstm=seq_lstm, seq_gru=seq_gru, seq_simple=seq_simple, seq_conv=seq_conv, ein_rows=ein_rows, wrap_rows=wrap_rows)


def trained(name, layers, shape, optimizer, loss="mse", out=2):
    def build():
        m = keras.Sequential([L.Input(shape)] + layers() + [L.Dense(out)], name="seq_" + name)
        fill(m)
        m.compile(optimizer(), loss)
        return m, wave((6,) + shape, 1), wave((6, out), 2)
    return build


def tokens():
    m = keras.Sequential([L.Input((5,), dtype="int32"), L.Embedding(20, 4, mask_zero=True), L.GRU(3), L.Dense(3, activation="softmax")], name="seq_tokens")
    fill(m)
    m.compile(optimizers.RMSprop(0.01, momentum=0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = ((wave((6, 5), 1) * 10).astype("int32") % 20).astype("int32")
    return m, x, (wave((6, 1), 2) * 10).astype("int32") % 3


def heads():
    x = L.Input((4, 6), name="x")
    y = block(x, 2, 6, 8, rate=0.0)
    m = keras.Model(x, L.Dense(2)(L.GlobalAveragePooling1D()(y)), name="seq_heads")
    fill(m)
    m.compile(optimizers.AdamW(0.01, weight_decay=0.05), "mse")
    return m, wave((6, 4, 6), 1), wave((6, 2), 2)


# models that have been trained: the slots of weights that lie in cells, directions and projections
TRAINED = {
    "seq_adam": trained("adam", lambda: [L.Bidirectional(L.LSTM(3, return_sequences=True)), L.GRU(2)], (4, 3), lambda: optimizers.Adam(0.01, amsgrad=True)),
    "seq_cells_lion": trained("cells_lion", lambda: [L.RNN([L.LSTMCell(3), L.GRUCell(2)])], (4, 3), lambda: optimizers.Lion(0.003)),
    "seq_conv_sgd": trained("conv_sgd", lambda: [L.ConvLSTM1D(2, 2), L.Flatten()], (3, 4, 2), lambda: optimizers.SGD(0.05, momentum=0.9, use_ema=True)),
    "seq_frames_nadam": trained("frames_nadam", lambda: [L.TimeDistributed(L.Conv1D(2, 2)), L.TimeDistributed(L.Flatten()), L.SimpleRNN(3)], (3, 4, 2), lambda: optimizers.Nadam(0.01)),
    "seq_ein_lamb": trained("ein_lamb", lambda: [L.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d"), L.GlobalAveragePooling1D()], (4, 3), lambda: optimizers.Lamb(0.01)),
    "seq_tokens": tokens, "seq_heads": heads,
}
