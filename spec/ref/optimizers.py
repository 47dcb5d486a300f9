"""Parameters after each of 20 steps, and schedules: KERAS_BACKEND=jax python spec/ref/optimizers.py (Keras 3.15)."""
import os
os.environ.setdefault("KERAS_BACKEND", "jax")
import numpy as np
import keras
from keras import optimizers
from luawrite import write

rng = np.random.default_rng(3)
start = [rng.normal(size=(3, 2)).round(3).astype("float32"), rng.normal(size=(4,)).round(3).astype("float32")]
grads = [[rng.normal(size=(3, 2)).round(3).astype("float32"), rng.normal(size=(4,)).round(3).astype("float32")] for _ in range(20)]
rows = [dict(start=start, grads=grads)]


def case(cls, _exclude=None, _finalize=False, **args):
    opt = getattr(optimizers, cls)(**args)
    vs = [keras.Variable(s, name=n) for s, n in zip(start, ["kernel", "bias"])]
    if _exclude:
        opt.exclude_from_weight_decay(var_names=_exclude)
    opt.build(vs)
    out = []
    for g in grads:
        opt.apply([keras.ops.convert_to_tensor(x) for x in g], vs)
        out.append([np.array(v) for v in vs])
    if _finalize:
        opt.finalize_variable_values(vs)
        out.append([np.array(v) for v in vs])
    rows.append(dict(optimizer=cls, args=args, exclude=_exclude, finalize=_finalize, values=out, iterations=int(opt.iterations)))


case("SGD")
case("SGD", learning_rate=0.1, momentum=0.9)
case("SGD", learning_rate=0.1, momentum=0.9, nesterov=True)
case("SGD", learning_rate=0.1, weight_decay=0.05)
case("SGD", learning_rate=0.1, weight_decay=0.05, _exclude=["bias"])
case("SGD", learning_rate=0.1, clipnorm=0.5)
case("SGD", learning_rate=0.1, clipvalue=0.3)
case("SGD", learning_rate=0.1, global_clipnorm=0.7)
case("SGD", learning_rate=0.1, global_clipnorm=0.7, weight_decay=0.05, _exclude=["bias"])
case("SGD", learning_rate=0.1, use_ema=True, ema_momentum=0.8, _finalize=True)
case("SGD", learning_rate=0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=5)
case("SGD", learning_rate=0.1, loss_scale_factor=4.0)
case("SGD", learning_rate=0.1, momentum=0.5, gradient_accumulation_steps=3)
case("Adam")
case("Adam", learning_rate=0.05, beta_1=0.8, beta_2=0.95, epsilon=1e-4)
case("Adam", learning_rate=0.05, amsgrad=True)
case("Adam", learning_rate=0.05, gradient_accumulation_steps=2, clipnorm=0.4)
case("AdamW")
case("AdamW", learning_rate=0.05, weight_decay=0.1, _exclude=["bias"])
case("RMSprop")
case("RMSprop", learning_rate=0.05, rho=0.8, momentum=0.6, centered=True)
case("RMSprop", learning_rate=0.05, momentum=0.6)
case("Adagrad")
case("Adagrad", learning_rate=0.1, initial_accumulator_value=0.3)
case("Adamax", learning_rate=0.05)
case("Nadam", learning_rate=0.05)
case("Adadelta", learning_rate=1.0)
case("Lion", learning_rate=0.05)
case("Ftrl", learning_rate=0.1)
case("Ftrl", learning_rate=0.1, l1_regularization_strength=0.02, l2_regularization_strength=0.03,
     l2_shrinkage_regularization_strength=0.01, beta=0.1, initial_accumulator_value=0.2)
case("Adafactor")
case("Adafactor", learning_rate=0.05, relative_step=False, clip_threshold=0.5, beta_2_decay=-0.6, epsilon_2=0.01)
case("Adafactor", learning_rate=0.9, weight_decay=0.01, _exclude=["bias"])
case("Lamb")
case("Lamb", learning_rate=0.05, beta_1=0.8, beta_2=0.95, weight_decay=0.1, clipnorm=0.5)
case("Lamb", learning_rate=0.05, use_ema=True, ema_momentum=0.8, _finalize=True)
case("Muon")
case("Muon", learning_rate=0.05, nesterov=False, ns_steps=3, rms_rate=None, momentum=0.8, adam_lr_ratio=0.5)
case("Muon", learning_rate=0.05, weight_decay=0.1, adam_weight_decay=0.2, _exclude=["bias"])
case("Muon", learning_rate=0.05, exclude_layers=["kern"], gradient_accumulation_steps=2)
case("ScheduleFreeAdamW")
case("ScheduleFreeAdamW", learning_rate=0.05, beta_1=0.8, warmup_steps=7, weight_decay=0.1)
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizers.lua"), "optimizers.py", rows)

S = optimizers.schedules
rows = []


def schedule(cls, **args):
    s = getattr(S, cls)(**args)
    steps = list(range(100)) + [100, 101, 150, 250]
    rows.append(dict(schedule=cls, args=args, steps=steps, values=[float(s(k)) for k in steps]))


schedule("ExponentialDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9)
schedule("ExponentialDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.9, staircase=True)
schedule("InverseTimeDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5)
schedule("InverseTimeDecay", initial_learning_rate=0.1, decay_steps=10, decay_rate=0.5, staircase=True)
schedule("PiecewiseConstantDecay", boundaries=[10, 100], values=[1.0, 0.5, 0.1])
schedule("PolynomialDecay", initial_learning_rate=0.1, decay_steps=100)
schedule("PolynomialDecay", initial_learning_rate=0.1, decay_steps=40, end_learning_rate=0.01, power=2.0, cycle=True)
schedule("CosineDecay", initial_learning_rate=0.1, decay_steps=100)
schedule("CosineDecay", initial_learning_rate=0.01, decay_steps=100, alpha=0.1, warmup_target=0.1, warmup_steps=20)
schedule("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=30)
schedule("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=30, t_mul=1.0, m_mul=0.8, alpha=0.05)
schedule("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=30, t_mul=1.5, m_mul=0.9)
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "schedules.lua"), "optimizers.py", rows)
