"""PaddleSeg's train tool for those who only pip-installed the toolkit.

``python -m seg_hooks.train --config X.yml ...`` takes the flags of PaddleSeg's own `tools/train.py`
and needs no start-up file.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml

import seg_hooks
from rifle_ext.runtime.compat import before_paddle
from rifle_ext.training.components import IMPORTS, import_components
from seg_hooks import compat

EXPORTED = "of the models exported beside checkpoints, with uniform_output_enabled in the config"


def parse_arguments(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """The flags of PaddleSeg's `tools/train.py`."""
    parser = argparse.ArgumentParser(
        prog="python -m seg_hooks.train", description="Train with PaddleSeg and rifle-ext."
    )
    add = parser.add_argument
    add("--config", required=True, help="path of the config file")
    add("--device", default="gpu", choices=["cpu", "gpu", "xpu", "npu", "mlu"])
    add("--save_dir", default="./output", help="folder for checkpoints and rifle_events.jsonl")
    add("--num_workers", type=int, default=0, help="processes that load data")
    add("--do_eval", action="store_true", help="evaluate at each save_interval")
    add("--use_vdl", action="store_true", help="record to VisualDL")
    add("--use_ema", action="store_true", help="keep a moving average of the model")
    add("--resume_model", help="folder of the checkpoint to resume from")
    add("--iters", type=int, help="iterations in all")
    add("--batch_size", type=int, help="images an iteration on one device")
    add("--learning_rate", type=float)
    add("--save_interval", type=int, default=1000, help="iterations between checkpoints")
    add("--log_iters", type=int, default=10, help="iterations between log lines")
    add("--keep_checkpoint_max", type=int, default=5)
    add("--early_stop_intervals", type=int, help="stop after so many evaluations without progress")
    add("--seed", type=int, help="of the training's random streams")
    add("--precision", default="fp32", choices=["fp32", "fp16"])
    add("--amp_level", default="O1", choices=["O1", "O2"])
    add("--profiler_options", help="see paddleseg/utils/train_profiler.py")
    add("--data_format", default="NCHW", choices=["NCHW", "NHWC"], help="NHWC: DeepLabV3P only")
    add("--repeats", type=int, default=1, help="times each sample is repeated in an epoch")
    add("--use_multilabel", action="store_true", help="evaluate with several labels a pixel")
    add("--to_static_training", action="store_true", help="train the model as a static graph")
    add("--output_op", default="argmax", choices=["argmax", "softmax", "none"], help=EXPORTED)
    add("--input_shape", nargs="+", type=int, help=EXPORTED)
    add("--for_fd", action="store_true", help=EXPORTED)
    add("--opts", nargs="+", help="key=value pairs that override the config")
    add("--import", action="append", default=[], dest="imports", metavar="MODULE", help=IMPORTS)
    return parser.parse_args(arguments)


def main(arguments: Optional[List[str]] = None) -> None:
    """Build what the config describes and train it."""
    chosen = parse_arguments(arguments)

    before_paddle()
    seg_hooks.attach()
    import_components(chosen.imports)
    compat.mend_evaluation()
    compat.mend_gather()
    from paddleseg.core import train
    from paddleseg.cvlibs import Config, SegBuilder
    from paddleseg.utils import utils

    config = Config(
        chosen.config,
        learning_rate=chosen.learning_rate,
        iters=chosen.iters,
        batch_size=chosen.batch_size,
        opts=chosen.opts,
    )
    utils.show_env_info()
    utils.show_cfg_info(config)
    utils.set_seed(chosen.seed)
    utils.set_device(chosen.device)
    utils.set_cv2_num_threads(chosen.num_workers)
    if chosen.data_format == "NHWC":
        _use_nhwc(config)
    if chosen.use_multilabel:
        config.dic.setdefault("test_config", {})["use_multilabel"] = True
    of_the_config = _options_of_the_config(train, config, chosen)
    builder = SegBuilder(config)
    model = utils.convert_sync_batchnorm(builder.model, chosen.device)
    train_dataset = builder.train_dataset
    if chosen.repeats > 1:
        train_dataset.file_list *= chosen.repeats
    given = {
        **vars(chosen),
        "val_dataset": builder.val_dataset if chosen.do_eval else None,
        "optimizer": builder.optimizer,
        "losses": builder.loss,
        "iters": config.iters,
        "batch_size": config.batch_size,
        "test_config": config.test_config,
        "to_static_training": chosen.to_static_training or config.to_static_training,
    }
    train(model, train_dataset, **_accepted(train, given), **of_the_config)


def _accepted(train: Any, given: Dict[str, Any]) -> Dict[str, Any]:
    """The arguments that this version of PaddleSeg's `train` knows."""
    known = inspect.signature(train).parameters
    return {name: value for name, value in given.items() if name in known}


def _options_of_the_config(train: Any, config: Any, chosen: argparse.Namespace) -> Dict[str, Any]:
    """What later versions of the tool take out of the config for `train`, if it knows that."""
    if "shuffle" not in inspect.signature(train).parameters:
        return {}
    from paddleseg.utils.logger import setup_logger

    uniform = config.dic.get("uniform_output_enabled", False)
    if uniform:
        folder = Path(chosen.save_dir)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (folder / "train_results.json").unlink()
        (folder / "config.yaml").write_text(yaml.dump(config.dic))
    return {
        "print_mem_info": config.dic.pop("print_mem_info", True),
        "shuffle": config.dic["train_dataset"].pop("shuffle", True),
        "logger": setup_logger(log_ranks=config.dic.pop("log_ranks", "0")),
        "uniform_output_enabled": uniform,
        "cli_args": chosen if uniform else None,
    }


def _use_nhwc(config: Any) -> None:
    """Channels last, for the one model of PaddleSeg that offers it."""
    model = config.dic["model"]
    if model["type"] != "DeepLabV3P":
        raise SystemExit("--data_format NHWC: PaddleSeg supports it for DeepLabV3P only")
    model["data_format"] = model["backbone"]["data_format"] = "NHWC"
    for loss in config.dic["loss"]["types"]:
        loss["data_format"] = "NHWC"


if __name__ == "__main__":
    main()
