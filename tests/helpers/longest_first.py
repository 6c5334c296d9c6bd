"""The order in which files of tests are handed out: the longest first, so that no worker idles.

pytest-xdist's `loadfile` begins with the files that have the most tests. A long file of few tests
would come last then, and one worker would be at it when the others have nothing left to do.
"""

from xdist.scheduler import LoadFileScheduling

LONGEST = (
    "zoo/test_zoo.py",
    "training/test_ranks.py",
    "commands/test_trial.py",
    "det/test_det_tool.py",
    "lwf/test_det_lwf.py",
    "det/test_det_training.py",
    "whole/test_notebook.py",
    "det/test_det_trainers.py",
    "det/test_det_outputs.py",
    "rifle/test_loaded.py",
    "training/test_methods.py",
    "whole/test_transfer.py",
    "whole/test_examples.py",
    "rifle/test_distilling.py",
    "seg/test_to_static.py",
    "seg/test_seg_tool.py",
    "redraw/test_fresh.py",
    "rifle/test_fuzz.py",
    "whole/test_killed.py",
    "uses/test_blocks_from_environment.py",
    "start_up/test_startup.py",
    "lwf/test_lwf_killed.py",
)
"""Under `tests/`, about by the processor time they take; the rest keeps its order."""


class LongestFirst(LoadFileScheduling):
    """Hands out whole files."""

    def _assign_work_unit(self, node):
        self.workqueue.move_to_end(min(self.workqueue, key=rank), last=False)
        super()._assign_work_unit(node)


def rank(path):
    """Where a file comes; those of one rank stay in their order."""
    name = path.rpartition("tests/")[2]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)
