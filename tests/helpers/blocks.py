"""Made-up `rifle:` blocks, valid and not."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rifle_ext.methods.rifle.block import RifleConfig
from rifle_ext.redraw.initializers import INITIALIZERS

EXAMPLES = int(os.environ.get("RIFLE_EXT_EXAMPLES", "400"))
"""Blocks that each test makes up: more of them find more, and take longer."""

BLOCKS = settings(
    max_examples=EXAMPLES,
    deadline=2000,  # milliseconds a block
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)

KEYS = list(RifleConfig.model_fields)
NEAR = [key[:-1] for key in KEYS] + [key.upper() for key in KEYS] + [f"{key}s" for key in KEYS]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.integers(-2, 40)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["auto", "head", "none", "cyclic", "reset", "keep", "original", *INITIALIZERS]
    )
    | st.dates()
    | st.binary(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=6,
)
initializers = st.fixed_dictionaries(
    {"type": st.sampled_from([*INITIALIZERS, "Assign", "os.system", "__import__('os')"])},
    optional={
        "value": scalars, "mean": scalars, "std": scalars, "low": scalars, "high": scalars,
        "scale": scalars, "mode": scalars, "gain": scalars, "fan_in": scalars, "x": scalars,
    },
)  # fmt: skip
blocks = st.dictionaries(
    st.sampled_from(KEYS) | st.sampled_from(NEAR) | scalars,
    st.integers(0, 20) | values | initializers,
    max_size=6,
)
