"""Whether the GPU tests can run on this machine; needs nothing installed but Python.

Refuses, with the reason, where there is no NVIDIA GPU or where the wheel of paddle that the tests
install holds no code for it.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rifle_ext.commands.doctor.answers import PADDLES_SITE, WHEEL_CODE, has_code_for  # noqa: E402


def main():
    """Return nothing if all is right; otherwise a message."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no NVIDIA GPU was found (nvidia-smi: {error}); the GPU tests were not run"
    lines = [line.split(", ") for line in done.stdout.decode().splitlines() if line.strip()]
    if done.returncode or not lines:
        return f"no NVIDIA GPU was found (nvidia-smi: {done.stderr.decode().strip() or 'none'})"
    for name, capability, driver in lines:
        print(f"{name}, compute capability {capability}, driver {driver}")
        major, minor = (int(part) for part in capability.split("."))
        if not has_code_for((major, minor)):
            known = ", ".join(f"{a}.{b}" for a, b in WHEEL_CODE)
            return (
                f"{name} has compute capability {capability}, and the paddlepaddle-gpu 2.6.2 of "
                f"the package registry holds code for {known} only and none that a driver could "
                "translate: the GPU tests cannot run with it. It takes paddle 3 from Paddle's own "
                f"index ({PADDLES_SITE}) with the toolkits' development branches; see docs/gpu.md"
            )
        # https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
        if int(driver.split(".")[0]) < 450:
            return f"the driver is {driver}: CUDA 11.8 needs 450.80.02 or later"
    return None


if __name__ == "__main__":
    raise SystemExit(main())
