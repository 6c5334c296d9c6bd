"""What everything that can be reached from an object is, as plain data to be compared.

Not by the package's own means: by walking instances, classes, functions, closures and globals.
"""

import collections
import itertools
import random
import re
import types

import numpy as np
import paddle

ITERATORS = (itertools.count, itertools.cycle)
STREAMS = (random._inst, np.random.mtrand._rand)


def state_of_all(*roots):
    """{path: plain data} of whatever the roots reach; library code is not walked."""
    found, seen, ahead = {}, set(), [(f"root{i}", root) for i, root in enumerate(roots)]
    while ahead:
        path, value = ahead.pop()
        if id(value) in seen and not isinstance(value, (int, float, str, bool, type(None))):
            continue
        seen.add(id(value))
        data, more = _look(value)
        found[path] = data
        ahead.extend((f"{path}.{name}", item) for name, item in more)
    found["random"] = random.getstate()
    found["numpy"] = str(np.random.get_state())
    # Paddle 3 prints where a generator's engine lies, beside what is in it.
    found["paddle"] = [re.sub("0x[0-9a-f]+", "", str(state)) for state in paddle.get_rng_state()]
    return found


def _look(value):
    if isinstance(value, paddle.Tensor):
        return (value.numpy().tobytes(), value.stop_gradient), []
    if isinstance(value, np.ndarray):
        return value.tobytes(), []
    if isinstance(value, (np.random.Generator,)):
        return str(value.bit_generator.state), []
    if isinstance(value, (random.Random, np.random.RandomState)):
        shared = any(value is stream for stream in STREAMS)
        state = value.getstate if isinstance(value, random.Random) else value.get_state
        return "shared" if shared else str(state()), []
    if isinstance(value, dict):
        return [str(key) for key in value], [(str(k), v) for k, v in value.items()]
    if isinstance(value, (list, tuple, collections.deque, set)):
        return len(value), list(enumerate(value))
    if isinstance(value, ITERATORS):
        return repr(value), []
    if isinstance(value, types.GeneratorType):
        return str(value.gi_frame.f_locals), []
    if isinstance(value, types.FunctionType):
        return "", _of_function(value)
    if isinstance(value, types.MethodType):
        return "", [("function", value.__func__), ("owner", value.__self__)]
    if isinstance(value, type):
        own = not _of_library(value)
        return "", [(k, v) for k, v in vars(value).items() if own and not k.startswith("__")]
    if isinstance(value, (int, float, str, bool, bytes, type(None))):
        return value, []
    if hasattr(value, "__dict__") and (
        not _of_library(type(value)) or isinstance(value, paddle.nn.Layer)
    ):
        return "", [("type", type(value)), ("dict", vars(value))]
    return type(value).__name__, []


def _of_function(function):
    if _of_library(function):
        return []
    names = [n for n in function.__code__.co_names if n in function.__globals__]
    codes = [c for c in function.__code__.co_consts if isinstance(c, types.CodeType)]
    names += [n for code in codes for n in code.co_names if n in function.__globals__]
    values = [(name, function.__globals__[name]) for name in names]
    cells = [(f"cell{i}", cell.cell_contents) for i, cell in enumerate(function.__closure__ or ())]
    return [(n, v) for n, v in values if not isinstance(v, types.ModuleType)] + cells


def _of_library(thing):
    module = (getattr(thing, "__module__", None) or "builtins").split(".")[0]
    libraries = ("builtins", "paddle", "numpy", "rifle_ext", "seg_hooks", "det_hooks", "paddleseg")
    return module in libraries or module in ("ppdet", "collections", "random", "itertools")
