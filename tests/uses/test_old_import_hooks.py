"""Import hooks of before Python 3.4 on `sys.meta_path`: wrapt's, wandb's, frozen applications'."""

import sys

import pytest
from processes import run

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python no longer asks such hooks"),
]

HOOKS = """
import sys, zlib, warnings
warnings.simplefilter("ignore")

class Silent:
    "Finds nothing, and has neither method's modern form."
    def find_module(self, name, path=None):
        return None

class Claiming:
    "Waits for two modules and loads them by what the others find, as wrapt's does."
    waits = {"paddleseg.core", "ppdet.engine"}
    def find_module(self, name, path=None):
        if name in self.waits:
            self.waits = self.waits - {name}
            import importlib.util
            self.loader = importlib.util.find_spec(name).loader
            return self
    def load_module(self, name):
        return self.loader.load_module(name)
"""


@pytest.mark.parametrize("hook", ["Silent", "Claiming"])
@pytest.mark.parametrize("place", [0, "len(sys.meta_path)"])
def test_the_toolkits_are_imported_and_attached(hook, place):
    code = f"""{HOOKS}
import importlib.util
sys.meta_path.insert({place}, {hook}())
importlib.util.find_spec("paddleseg.core")  # only asks
import paddleseg.core, ppdet.engine
from ppdet.engine import Trainer
print(hasattr(paddleseg.core.train, "_rifle_ext"), hasattr(Trainer.train, "_rifle_ext"))
"""
    done = run("-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "True True"
