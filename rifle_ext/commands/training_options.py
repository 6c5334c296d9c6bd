"""What the commands that look at a training share: their options, and looking at it."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, Mapping, Optional, Sequence, Tuple

import yaml

from rifle_ext.commands.config_file import check_kind, repeated
from rifle_ext.entry_groups import entry_group
from rifle_ext.errors import RifleError
from rifle_ext.runtime.compat import before_paddle
from rifle_ext.training.blocks import option_value
from rifle_ext.training.components import IMPORTS, import_components
from rifle_ext.training.misplaced import misplaced
from rifle_ext.training.plans import MethodPlan
from rifle_ext.training.registry import Block, blocks_for, hooks_of, methods
from rifle_ext.training.tools import GROUP as TOOLS

TOOLKITS = "rifle_ext.toolkits"
METHOD = "rifle"
"""The method that is looked at where a config has no block, unless `--method` says."""
IMAGES = 1000
"""Size of a made-up training set, unless `--images` says."""


class ToolkitError(RifleError):
    """A toolkit failed with an error of its own, which is shown too."""


def toolkits() -> Dict[str, Any]:
    """Entry points of what sets trainings up (`training.setup.Setup`), by toolkit."""
    return entry_group(TOOLKITS)


def add_options(
    parser: argparse.ArgumentParser, overrides: Sequence[str] = ("-o", "--opts")
) -> None:
    """Add the options that name a training; `overrides` are the names of that for overrides."""
    add = parser.add_argument
    add("--toolkit", required=True, choices=sorted(toolkits()), help="whose config it is")
    add("-c", "--config", required=True, help="path of the config file")
    add(
        *overrides, nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="override the config, e.g. rifle.max_re_num=2",
    )  # fmt: skip
    add(
        "--import", action="append", default=[], dest="imports", metavar="MODULE",
        help=IMPORTS,
    )  # fmt: skip
    add(
        "--method", choices=sorted(methods()), default=METHOD,
        help=f"whose block to propose, or whose defaults count without any (default: {METHOD})",
    )  # fmt: skip
    add("--synthetic", action="store_true", help="use made-up samples: no data set is needed")
    add(
        "--images", type=int, metavar="N",
        help=f"with --synthetic, size of the training set (default: {IMAGES})",
    )  # fmt: skip


def check_options(chosen: argparse.Namespace) -> None:
    """Raise RifleError if an option's value cannot be used."""
    if not Path(chosen.config).is_file():
        raise RifleError(f"--config {chosen.config}: there is no such file", topic="options")
    if chosen.images is not None and not chosen.synthetic:
        raise RifleError(
            "--images: the size of the made-up data set of --synthetic, not given", topic="options"
        )
    if chosen.images is not None and chosen.images < 1:
        raise RifleError(
            f"--images {chosen.images}: allowed is a whole number, 1 or more", topic="options"
        )
    wrong = next((o for o in chosen.opts if not o.partition("=")[0] or "=" not in o), None)
    if wrong is not None:
        raise RifleError(
            f"--opts {wrong}: allowed is key=value, as in rifle.max_re_num=2", topic="options"
        )
    for option in (o for o in chosen.opts if o.partition("=")[0].split(".")[0] in methods()):
        try:
            option_value(option)
        except RifleError as error:
            raise RifleError(f"--opts {error}") from error


@dataclass(frozen=True)
class Looked:
    """A training that was looked at.

    Attributes
    ----------
    toolkit, model
        Their names.
    total_steps, steps_per_epoch
        Length of the training and of one pass over the data, in iterations.
    blocks
        Keys of the methods that the config has a block for, or the environment.
    plans
        What each method would do, by its key, in the order in which they are called.
    config
        The config's content, overridden, as the toolkit reads it, with what is laid over it.
    values
        How many values the model's parameters have together.
    off
        A sentence on each method that its block switches off.
    laid_over
        Where each block stands that is not in the config, by its key.
    defaults_of
        The method whose defaults are looked at, as the config has no block; None if it has one.
    misplaced
        A sentence on each key that looks like a block, or like a key of one, and is neither; and on
        those that stand twice in the config file.
    """

    toolkit: str
    model: str
    total_steps: int
    steps_per_epoch: int
    blocks: Sequence[str]
    plans: Mapping[str, MethodPlan]
    config: Mapping[str, Any]
    values: int
    off: Sequence[str] = ()
    laid_over: Mapping[str, str] = field(default_factory=dict)
    defaults_of: Optional[str] = None
    misplaced: Sequence[str] = ()


def look(chosen: argparse.Namespace, propose: bool = False, defaults: bool = True) -> Looked:
    """Set the training up, and ask its methods for their plans.

    Parameters
    ----------
    chosen
        The options of `add_options`.
    propose
        Look at the defaults of `--method`, whatever blocks the config has.
    defaults
        Look at them where the config has no block, too.

    Raises
    ------
    RifleError
        If the training cannot be set up, or a method refuses it.
    """
    with training(chosen) as (config, run):
        blocks = asked = blocks_for(config, chosen.config)
        if propose or (defaults and not blocks):
            asked = {chosen.method: Block(None, chosen.config)}
        run.methods = hooks_of(asked, chosen.config)
        plans = {}
        for key, hooks in run.methods.items():
            for plan in filter(None, (hook.plan(run) for hook in hooks)):
                plans[key] = plan
        return Looked(
            chosen.toolkit,
            type(run.model).__name__,
            run.total_steps,
            run.steps_per_epoch,
            list(blocks),
            plans,
            {**config, **{key: block.content for key, block in blocks.items()}},
            sum(int(parameter.size) for parameter in run.model.parameters()),
            [f"{key}: false: the method is off" for key in asked if key not in run.methods],
            {key: block.source for key, block in blocks.items() if block.laid_over},
            chosen.method if asked and not blocks else None,
            [*misplaced(config), *repeated(Path(chosen.config), methods())],
        )


@contextlib.contextmanager
def training(chosen: argparse.Namespace) -> Iterator[Tuple[Mapping[str, Any], Any]]:
    """The training that the options name, set up but not begun: its config and `TrainingRun`.

    What the toolkit prints goes to standard error.

    Raises
    ------
    RifleError
        If the toolkit cannot set it up, or the model cannot be run on a training sample.
    """
    check_kind(
        Path(chosen.config),
        chosen.toolkit,
        {name: entry.load() for name, entry in entry_group(TOOLS).items()},
    )
    before_paddle()
    try:
        import_components(chosen.imports)
    except RifleError as error:
        raise ToolkitError(str(error), topic=error.topic) from error.__cause__
    with contextlib.redirect_stdout(sys.stderr), contextlib.ExitStack() as stack:
        set_up, request_of = _imported(chosen.toolkit)
        images = chosen.images or IMAGES
        request = request_of(chosen.config, chosen.opts, chosen.synthetic, images, chosen.method)
        with _naming(chosen.config, "the training cannot be set up"):
            config, run = stack.enter_context(set_up(request))
        with _naming(chosen.config, "the model cannot be run on a training sample"):
            yield config, run


def _imported(toolkit: str) -> Tuple[Any, Any]:
    """What sets up a toolkit's trainings, and what it is asked with; both import paddle.

    Raises
    ------
    RifleError
        If paddle or the toolkit cannot be imported.
    """
    try:
        from rifle_ext.training.setup import Request

        return toolkits()[toolkit].load(), Request
    except Exception as error:
        said = (
            f"--toolkit {toolkit}: paddle or the toolkit cannot be imported: "
            f"{type(error).__name__}: {error}; `rifle-ext doctor` says what is missing"
        )
        if isinstance(error, ImportError):
            raise RifleError(said, topic="package") from error
        raise ToolkitError(said, topic="package") from error


@contextlib.contextmanager
def _naming(config: str, what: str) -> Iterator[None]:
    """Turn whatever a toolkit says of a config into one message that names the config."""
    try:
        yield
    except RifleError as error:
        if str(error).startswith(f"{config}:"):
            raise
        raise RifleError(f"{config}: {error}") from error
    except (Exception, SystemExit) as error:
        lines = [line.strip() for line in str(error).strip().splitlines()] or [""]
        # What YAML says ends with the place; of others the last line is what matters.
        words = " ".join(lines) if isinstance(error, yaml.YAMLError) else lines[-1]
        said = f"{config}: {what}: {type(error).__name__}: {words}"
        raise ToolkitError(said, topic="toolkit") from error
