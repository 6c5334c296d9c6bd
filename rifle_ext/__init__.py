"""RIFLE for PaddlePaddle: re-initialize the output layer several times during fine-tuning.

The names below are loaded on first use (PEP 562), so that importing this package costs a Python
process next to nothing: the start-up file imports it in every process of the environment.

References
----------
Li et al., "RIFLE: Backpropagation in Depth for Deep Transfer Learning through Re-Initializing the
Fully-connected LayEr", ICML 2020. https://arxiv.org/abs/2007.03349
"""

__version__ = "0.2.0"

_PUBLIC = {
    "RIFLE": "rifle_ext.methods.rifle.loop",
    "RIFLECallback": "rifle_ext.methods.rifle.hapi",
    "RifleConfig": "rifle_ext.methods.rifle.block",
    "RifleError": "rifle_ext.errors",
    "Hook": "rifle_ext.training.hooks",
    "TrainingRun": "rifle_ext.training.hooks",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted(__all__)
