"""Trains on two ranks, as Paddle's launcher starts them."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("ranks.py")

CONNECTED = "both ranks have begun to train"
"""What a rank prints then; whatever it says after that is no matter of luck."""

NOT_CONNECTED = ("Connection refused", "Address already in use", "TIMEOUT self_rank")
"""What Paddle says where two ranks did not find each other, on a loaded machine in the main."""


def launch(folder, *arguments, **options):
    """Run two ranks; again if they did not find each other, which Paddle leaves to luck."""
    for _ in range(3):
        code, logs = launch_once(folder, *arguments, **options)
        lost = CONNECTED not in logs and any(said in logs for said in NOT_CONNECTED)
        if not code or not lost:
            break
    return code, logs


def launch_once(folder, *arguments, script=SCRIPT, machines=1, **environment):
    """Run two ranks: of one machine, or of two, for which two launchers stand."""
    for log in folder.glob("log?"):
        shutil.rmtree(log)
    port = free_port()
    where = {
        1: [["--nproc_per_node", "2", "--backend", "gloo"]],
        2: [
            ["--nnodes", "2", "--master", f"127.0.0.1:{port}", "--rank", rank]
            for rank in ("0", "1")
        ],
    }[machines]
    # The launcher of several machines takes the backend from the environment.
    merged = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment}
    if machines == 2:
        merged["PADDLE_DISTRI_BACKEND"] = "gloo"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "paddle.distributed.launch", *flags]
            + ["--log_dir", str(folder / f"log{index}"), str(script), *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=merged,
            cwd=folder,
        )
        for index, flags in enumerate(where)
    ]
    try:
        codes = [process.wait(timeout=240) for process in running]
    finally:
        for process in running:
            process.kill()
    logs = "".join(p.read_text(errors="replace") for p in folder.glob("log?/workerlog.*"))
    return max(codes), logs


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
