"""Start-up: wait for a toolkit to be imported, then attach its adapter.

The start-up file imports this module in every Python process of the environment, so it imports
nothing itself and does nothing but put one finder in front of the import system's. Adapters are
found through the entry-point group `rifle_ext.adapters`, read only once `paddle` is being imported.
An entry's name is the toolkit's module after whose import the adapter attaches; its value is the
function that attaches. `RIFLE_EXT_AUTOLOAD=0` switches all of it off. A file of blocks that the
environment names is named by its whole path from here on: programs such as PaddleX start a train
tool in a folder of their own.
"""

import os
import sys

GROUP = "rifle_ext.adapters"
BLOCKS = "RIFLE_EXT_BLOCKS"


class _ToolkitFinder:
    """A meta-path finder that finds nothing itself: it hooks the loaders of a few modules."""

    def __init__(self):
        self.adapters = {}
        self.searching = set()

    def find_spec(self, name, path=None, target=None):
        """Called by the import system for each module that is not loaded yet."""
        if name == "paddle":
            self.adapters = _adapters()
        if name not in self.adapters or name in self.searching:
            return None
        # Not once for all: who only asks whether there is such a module comes by here, too.
        self.searching.add(name)
        try:
            spec = _search(name, path, target)
        finally:
            self.searching.discard(name)
        loader = getattr(spec, "loader", None)
        if hasattr(loader, "exec_module"):
            spec.loader = _AttachingLoader(loader, self.adapters[name])
        elif hasattr(loader, "load_module"):
            spec.loader = _AttachingOldLoader(loader, self.adapters[name])
        return spec

    def find_module(self, name, path=None):
        """For hooks of before Python 3.4 that ask every other finder in this way."""


def _search(name, path, target):
    """What the other finders find, by the import system's own search: old ones lack `find_spec`.

    It asks the finder in this module, too, which finds nothing while it searches.
    """
    import _frozen_importlib

    return _frozen_importlib._find_spec(name, path, target)  # type: ignore


class _AttachingOldLoader:
    """Loads a module with its own loader, of before Python 3.4, then attaches the adapter."""

    def __init__(self, loader, adapter):
        self._loader = loader
        self._adapter = adapter

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def load_module(self, name):
        """Load the module as its own loader does."""
        module = self._loader.load_module(name)
        _attach(self._adapter)
        return module


class _AttachingLoader(_AttachingOldLoader):
    """The same for a loader of today; import hooks of that age may still call `load_module`."""

    def create_module(self, spec):
        """As the module's own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module):
        """Run the module as its own loader does; a failing adapter is said and changes nothing."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _attach(self._adapter)


def _attach(adapter):
    try:
        adapter.load()()
    except Exception as error:
        print(
            f"[rifle-ext] not active: {adapter.value} failed with {type(error).__name__}: {error}",
            file=sys.stderr,
        )


def _adapters():
    """The installed adapters, by the module they wait for; none if they cannot be read."""
    try:
        # Before paddle, which exports zlib symbols of its own: OpenCV would bind to those and read
        # no PNG. (Reading entry points imports it anyway, but that is not ours to rely on.)
        import zlib  # noqa: F401
        from importlib.metadata import entry_points

        found = entry_points()
        chosen = (
            found.select(group=GROUP) if hasattr(found, "select") else found.get(GROUP) or ()  # type: ignore[attr-defined]  # a mapping before 3.10
        )
        return {entry.name: entry for entry in chosen}
    except Exception:
        return {}


def _name_by_whole_path():
    try:  # contextlib would be one more import in every process
        os.environ[BLOCKS] = os.path.abspath(os.path.expanduser(os.environ[BLOCKS]))
    except OSError as error:
        print(f"[rifle-ext] {BLOCKS}: {error}", file=sys.stderr)


def install():
    """Put the finder in place, once a process."""
    if os.environ.get("RIFLE_EXT_AUTOLOAD") == "0":
        return
    if os.environ.get(BLOCKS):
        _name_by_whole_path()
    if not any(type(finder).__name__ == "_ToolkitFinder" for finder in sys.meta_path):
        sys.meta_path.insert(0, _ToolkitFinder())
