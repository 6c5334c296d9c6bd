"""Packaging: metadata, extras, the console script and the start-up file."""

import base64
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

HERE = Path(__file__).parent
STARTUP_FILE = "rifle_ext_startup.pth"
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "rifle_ext/__init__.py").read_text()).group(1)

SEG_NEEDS = [
    *("visualdl>=2.2", "opencv-python", "tqdm", "filelock", "scipy", "prettytable"),
    *("scikit-learn", "pyyaml>=5.1"),
]
DET_NEEDS = [
    *("visualdl>=2.2", "opencv-python", "tqdm", "typeguard", "shapely", "scipy", "terminaltables"),
    *("Cython", "pycocotools", "setuptools<81", "Pillow", "motmetrics", "scikit-learn"),
    *("scikit-image", "pyclipper", "pyyaml>=5.1", 'imgaug>=0.4; python_version < "3.13"'),
    *('lapx; python_version >= "3.9"', 'lap; python_version < "3.9"'),  # two of one module
]
"""Their own requirements.txt, but for what it asks of old versions of OpenCV."""


class BuildWithStartupFile(build_py):
    """Puts the start-up file beside the packages, from where it is installed into site-packages."""

    def run(self):
        super().run()
        if not self.editable_mode:
            Path(self.build_lib).mkdir(parents=True, exist_ok=True)
            shutil.copy(HERE / STARTUP_FILE, self.build_lib)

    def get_outputs(self, include_bytecode=1):
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib) / STARTUP_FILE)]


class EditableWithStartupFile(editable_wheel):
    """Adds the start-up file to the wheel of an editable install, which holds no other files."""

    def run(self):
        super().run()
        content = (HERE / STARTUP_FILE).read_bytes()
        for wheel in Path(self.dist_dir).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                if STARTUP_FILE in archive.namelist():
                    continue
                entries = [(info, archive.read(info)) for info in archive.infolist()]
            digest = (
                base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            )
            line = f"{STARTUP_FILE},sha256={digest},{len(content)}\n".encode()
            with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(STARTUP_FILE, content)
                for info, data in entries:
                    record = info.filename.endswith(".dist-info/RECORD")
                    archive.writestr(info, line + data if record else data)


setup(
    name="rifle-ext",
    version=VERSION,
    description="RIFLE for PaddleSeg and PaddleDetection: re-initialize the output layers several "
    "times during fine-tuning",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(8, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.8",
    packages=find_packages(include=["rifle_ext*", "seg_hooks*", "det_hooks*"]),
    package_data={
        "rifle_ext": [
            "py.typed",
            "commands/rifle.schema.json",
            "commands/errors.md",
            "methods/*/README*.md",
        ],
        "seg_hooks": ["py.typed"],
        "det_hooks": ["py.typed"],
    },
    install_requires=[
        "numpy",
        "pydantic>=2.10",
        "PyYAML>=5.1",
        "rich>=13",
        "typing_extensions>=4.6",
    ],
    extras_require={
        # The registry's toolkits fail on paddle 3; newer protobufs break paddle.distributed.fleet.
        "cpu": ["paddlepaddle>=2.6,<3", "protobuf==3.20.3"],
        "gpu": ["paddlepaddle-gpu>=2.6,<3", "protobuf==3.20.3"],
        "seg": ["paddleseg>=2.8"],
        "det": ["paddledet>=2.6"],
        # Paddle 3, whose GPU builds are in Paddle's own index only, and what checkouts of the
        # toolkits import: the registry has no toolkit for it.
        "paddle3-cpu": ["paddlepaddle>=3,<4"],
        "paddle3-gpu": ["paddlepaddle-gpu>=3.3,<3.4"],
        "seg-checkout": SEG_NEEDS,
        "det-checkout": DET_NEEDS,
        # jieba cuts the Chinese pages into words for the search.
        "docs": ["mkdocs>=1.6", "mkdocs-material>=9.5", "jieba"],
        "test": [
            "pytest>=7",
            "pytest-timeout",
            "pytest-xdist",
            "hypothesis>=6",
            "scikit-learn",
            "jsonschema",
            "mkdocs>=1.6",
            "mkdocs-material>=9.5",
            "jieba",
            "nbclient",
            "ipykernel",
            "ruff",
            "mypy",
        ],
    },
    entry_points={
        "console_scripts": ["rifle-ext = rifle_ext.cli:main"],
        "rifle_ext.adapters": [
            "paddleseg.core = seg_hooks:attach",
            "ppdet.engine = det_hooks:attach",
        ],
        "rifle_ext.logs": ["seg = seg_hooks.logs", "det = det_hooks.logs"],
        "rifle_ext.methods": [
            "freeze_out = rifle_ext.methods.freeze_out:hooks",
            "lwf = rifle_ext.methods.lwf:hooks",
            "rifle = rifle_ext.methods.rifle:hooks",
        ],
        "rifle_ext.commands": ["lwf-export = rifle_ext.methods.lwf.export"],
        "rifle_ext.blocks": [
            "freeze_out = rifle_ext.methods.freeze_out.block:FreezeOutConfig",
            "lwf = rifle_ext.methods.lwf.block:LwfConfig",
            "rifle = rifle_ext.methods.rifle.block:RifleConfig",
        ],
        "rifle_ext.tools": ["seg = seg_hooks.tool", "det = det_hooks.tool"],
        "rifle_ext.toolkits": ["seg = seg_hooks.plan:set_up", "det = det_hooks.plan:set_up"],
    },
    cmdclass={"build_py": BuildWithStartupFile, "editable_wheel": EditableWithStartupFile},
)
