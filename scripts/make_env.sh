#!/bin/sh
# Create .venv with the pinned stack: the newest suitable Python, and the GPU build of paddle where
# nvidia-smi lists a GPU. Does nothing if that has been done for the same pins.
set -eu
cd "$(dirname "$0")/.."

suitable='import sys, venv, ensurepip; sys.exit(not (3, 8) <= sys.version_info[:2] <= (3, 11))'
find_python() {
    for name in python3.11 python3.10 python3.9 python3.8 python3 python; do
        for folder in $(echo "$PATH" | tr ':' ' ') "$HOME"/.pyenv/versions/*/bin; do
            # It has to run: pyenv puts a stand-in on the path for every version it knows of.
            if [ -x "$folder/$name" ] && "$folder/$name" -c "$suitable" 2>/dev/null; then
                echo "$folder/$name"
                return 0
            fi
        done
    done
    return 1
}

if nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then paddle=gpu; else paddle=cpu; fi
pins="$paddle $(cat constraints.txt setup.py | cksum)"
if [ -x .venv/bin/python ] && [ "$(cat .venv/pins 2>/dev/null)" = "$pins" ]; then
    exit 0
fi

if ! python=$(find_python); then
    echo "rifle-ext needs Python 3.8, 3.9, 3.10 or 3.11 with the venv module (the released" >&2
    echo "toolkits run on no newer one), and none was found on PATH. Install one, for example" >&2
    echo "with: apt-get install python3 python3-venv" >&2
    exit 1
fi
echo "Installing paddle ($paddle), PaddleSeg, PaddleDetection and rifle-ext into .venv with $python"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools wheel
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
    --editable ".[$paddle,seg,det,test]"
echo "$pins" > .venv/pins
