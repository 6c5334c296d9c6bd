"""A PaddleSeg training that knows nothing of this package: prints what a comparison needs.

Usage: plain_seg_train.py CONFIG SAVE_DIR
"""

import zlib  # noqa: F401  isort: skip
import hashlib
import json
import sys

import paddle
from paddleseg.core import train
from paddleseg.cvlibs import Config, SegBuilder
from paddleseg.utils import utils


def sha(state):
    """SHA-256 over the tensors of a state, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if isinstance(state[name], paddle.Tensor):
            digest.update(name.encode() + state[name].numpy().tobytes())
    return digest.hexdigest()


def main(path, save_dir):
    config = Config(path)
    utils.set_seed(11)
    builder = SegBuilder(config)
    loop = sys.modules["paddleseg.core.train"]
    losses, loss_computation = [], loop.loss_computation

    def recorded(**kwargs):
        found = loss_computation(**kwargs)
        losses.append([float(loss) for loss in found])
        return found

    loop.loss_computation = recorded
    train(
        builder.model,
        builder.train_dataset,
        optimizer=builder.optimizer,
        losses=builder.loss,
        save_dir=save_dir,
        iters=config.iters,
        batch_size=config.batch_size,
        use_ema=True,
    )
    result = {
        "losses": losses,
        "model": sha(builder.model.state_dict()),
        "optimizer": sha(builder.optimizer.state_dict()),
        "attached": hasattr(train, "_rifle_ext"),
        "pydantic": "pydantic" in sys.modules,
    }
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
