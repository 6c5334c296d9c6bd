"""Runs Python in processes of their own."""

import json
import os
import subprocess
import sys


def path_with(*folders):
    """A PYTHONPATH of these folders and what is on it already, such as a toolkit's checkout."""
    return os.pathsep.join(filter(None, [*map(str, folders), os.environ.get("PYTHONPATH")]))


def run(*command, timeout=120, **environment):
    """Run `python COMMAND...`; a variable given as None is taken out of the environment."""
    merged = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env={name: value for name, value in merged.items() if value is not None},
    )


def run_without_the_package(script, *arguments):
    """Run a script with no start-up file (-S) and nothing of this package to import."""
    paths = [path for path in sys.path if path.endswith("site-packages")]
    code = (
        "import sys, runpy, site; site.getusersitepackages(); "
        f"sys.path += {paths!r}; "
        "sys.modules.update(dict.fromkeys(('rifle_ext', 'seg_hooks', 'det_hooks'))); "
        f"sys.argv = {[str(script), *map(str, arguments)]!r}; "
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    return run("-S", "-c", code)


def result(done):
    """What a script printed on its line `RESULT {...}`."""
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return json.loads(line[7:])


def run_unmodified(tool, home, *flags):
    """Run a train tool of a checkout as it is, with zlib imported before paddle."""
    code = (
        "import zlib, runpy, sys; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return run("-c", code, tool, *flags, PYTHONPATH=str(home))


def run_all_unmodified(home, *commands, timeout=200):
    """Run tools of a checkout as they are, one after the other in one process; what each prints."""
    mark = "--- next tool"
    code = (
        "import zlib, json, runpy, sys; from pathlib import Path; home = Path(sys.argv[1]); "
        "commands = json.loads(sys.argv[2]); "
        f"[(setattr(sys, 'argv', [str(home / c[0]), *c[1:]]), "
        "runpy.run_path(sys.argv[0], run_name='__main__'), "
        f"print({mark!r}, flush=True)) for c in commands]"
    )
    given = json.dumps([[str(part) for part in command] for command in commands])
    environment = {"PYTHONPATH": str(home), "PYTHONUNBUFFERED": "1"}
    done = run("-c", code, home, given, timeout=timeout, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = done.stdout.split(mark)[:-1]
    assert len(printed) == len(commands)
    return printed
