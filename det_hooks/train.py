"""PaddleDetection's train tool for those who only pip-installed the toolkit.

``python -m det_hooks.train -c X.yml ...`` takes the flags of PaddleDetection's own `tools/train.py`
and needs no start-up file.
"""

from __future__ import annotations

import argparse
from typing import Any, List, Optional

import det_hooks
from rifle_ext.runtime.compat import before_paddle
from rifle_ext.training.components import IMPORTS, import_components

DEVICES = ("gpu", "npu", "xpu", "mlu")


def parse_arguments(arguments: Optional[List[str]] = None) -> argparse.Namespace:
    """The flags of PaddleDetection's `tools/train.py`."""
    from ppdet.utils.cli import ArgsParser

    parser = ArgsParser()
    parser.prog = "python -m det_hooks.train"
    add = parser.add_argument
    add("--eval", action="store_true", help="evaluate at each snapshot")
    add("-r", "--resume", help="checkpoint to resume from, without its ending")
    add("--slim_config", help="config file of a slim method")
    add("--enable_ce", type=bool, default=False, help="fix the random seed")
    add("--amp", action="store_true", help="mixed precision")
    add("--fleet", action="store_true", help="use fleet")
    add("--use_vdl", type=bool, default=False, help="record to VisualDL")
    add("--vdl_log_dir", default="vdl_log_dir/scalar", help="folder of the VisualDL record")
    add("--use_wandb", type=bool, default=False, help="record to wandb")
    add("--save_prediction_only", action="store_true", help="save predictions only")
    add("--profiler_options", help="see ppdet/utils/profiler.py")
    add("--save_proposals", action="store_true", help="save the training's proposals")
    add("--proposals_path", default="sniper/proposals.json")
    add("--to_static", action="store_true", help="train the model as a static graph")
    add("--import", action="append", default=[], dest="imports", metavar="MODULE", help=IMPORTS)
    return parser.parse_args(arguments)


def main(arguments: Optional[List[str]] = None) -> None:
    """Build what the config describes and train it."""
    before_paddle()
    import paddle

    det_hooks.attach()
    chosen = parse_arguments(arguments)
    import_components(chosen.imports)
    del chosen.imports  # no key of the config
    from ppdet.core.workspace import load_config, merge_config
    from ppdet.engine import init_fleet_env, init_parallel_env, set_random_seed
    from ppdet.slim import build_slim_model
    from ppdet.utils import check
    from ppdet.utils.cli import merge_args

    cfg = load_config(chosen.config)
    merge_args(cfg, chosen)
    merge_config(chosen.opt)
    for device in DEVICES:
        cfg.setdefault(f"use_{device}", False)
    check.check_gpu(cfg.use_gpu)
    paddle.set_device(next((d for d in DEVICES if cfg[f"use_{d}"]), "cpu"))
    if chosen.slim_config:
        cfg = build_slim_model(cfg, chosen.slim_config)
        merge_config(chosen.opt)
    check.check_config(cfg)

    if cfg.fleet:
        init_fleet_env(cfg.get("find_unused_parameters", False))
    else:
        init_parallel_env()
    if chosen.enable_ce:
        set_random_seed(0)
    trainer = trainer_class(cfg)(cfg, mode="train")
    _load_weights(trainer, cfg, chosen.resume)
    trainer.train(chosen.eval)


def trainer_class(cfg: Any) -> Any:
    """The trainer the config asks for, among those this version of PaddleDetection has."""
    from ppdet import engine
    from ppdet.engine import trainer_ssod

    method = cfg.get("ssod_method")
    if method is not None:
        if not hasattr(trainer_ssod, f"Trainer_{method}"):
            raise SystemExit(f"ssod_method: {method}: this PaddleDetection has no such trainer")
        return getattr(trainer_ssod, f"Trainer_{method}")
    return engine.TrainerCot if cfg.get("use_cot", False) else engine.Trainer


def _load_weights(trainer: Any, cfg: Any, resume: Optional[str]) -> None:
    if resume is not None:
        trainer.resume_weights(resume)
    elif (
        cfg.get("pretrain_student_weights")
        and cfg.get("pretrain_teacher_weights")
        and hasattr(trainer, "load_semi_weights")  # later than PaddleDetection 2.6
    ):
        trainer.load_semi_weights(cfg["pretrain_teacher_weights"], cfg["pretrain_student_weights"])
    elif cfg.get("pretrain_weights"):
        trainer.load_weights(cfg["pretrain_weights"])


if __name__ == "__main__":
    main()
