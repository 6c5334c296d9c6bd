#!/bin/sh
# Create .venv with the stack that suits this machine (scripts/stack.py), with the first Python that
# runs: which one goes into .venv is chosen there.
set -eu
cd "$(dirname "$0")/.."

runs='import sys; sys.exit(sys.version_info[:2] < (3, 8))'
for name in python3 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8 python; do
    for folder in $(echo "$PATH" | tr ':' ' ') "$HOME"/.pyenv/versions/*/bin; do
        # It has to run: pyenv puts a stand-in on the path for every version it knows of.
        if [ -x "$folder/$name" ] && "$folder/$name" -c "$runs" 2>/dev/null; then
            exec "$folder/$name" scripts/make_env.py "$@"
        fi
    done
done
echo "rifle-ext needs Python 3.8 to 3.13 with the venv module, and none was found on PATH." >&2
echo "Install one, for example with: apt-get install python3 python3-venv" >&2
exit 1
