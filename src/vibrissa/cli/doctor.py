"""``vibrissa doctor``: versions, devices, rendering, what is missing and how to get it."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from typing import Any, Final

from vibrissa.core.manifest import version_of
from vibrissa.core.warp_runtime import warp_module

_RENDERERS: Final = ("egl", "osmesa", "glfw")


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Options of ``vibrissa doctor``.

    Attributes:
        json: print one JSON document.
    """

    json: bool = False


def examine() -> dict[str, Any]:
    """What this machine has: ``versions``, ``devices``, ``rendering``, ``extras``, ``problems``."""
    needed, extras = _requirements()
    found = {name: version_of(name) for name in needed}
    problems = [
        f"{name} is not installed; run: pip install {name}"
        for name, number in found.items()
        if number is None
    ]
    return {
        "vibrissa": version_of("vibrissa"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "versions": found,
        "devices": {
            "torch": _guarded(_torch_devices, problems),
            "warp": _guarded(_warp_devices, problems),
        },
        "rendering": _rendering(),
        "extras": {extra: _extra(extra, names) for extra, names in extras.items()},
        "problems": problems,
    }


def run(config: DoctorConfig) -> int:
    """Print the findings; exit status 1 if something that is needed is missing or broken."""
    found = examine()
    if config.json:
        print(json.dumps(found, indent=1))
    else:
        _print(found)
    return 1 if found["problems"] else 0


def _print(found: dict[str, Any]) -> None:
    print(f"vibrissa {found['vibrissa']}, Python {found['python']}, {found['platform']}")
    print("packages:  " + ", ".join(f"{n} {v or 'MISSING'}" for n, v in found["versions"].items()))
    for name, devices in found["devices"].items():
        print(f"{name + ':':<10} {', '.join(devices) or 'none'}")
    print(f"rendering: {found['rendering']}")
    for extra, state in found["extras"].items():
        lacking = ", ".join(state["missing"])
        print(
            f"[{extra}]: " + (f"lacks {lacking}; run: {state['command']}" if lacking else "ready")
        )
    for problem in found["problems"]:
        print(f"problem: {problem}")


def _requirements() -> tuple[list[str], dict[str, list[str]]]:
    """Names of the packages that are always needed, and those of each extra."""
    try:
        lines = requires("vibrissa") or []
    except PackageNotFoundError:
        return ["numpy", "scipy", "torch", "warp-lang", "trimesh", "h5py"], {}
    needed: list[str] = []
    extras: dict[str, list[str]] = {}
    for line in lines:
        match = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if match is None or match[0] == "vibrissa":
            continue
        if extra is None:
            needed.append(match[0])
        else:
            extras.setdefault(extra[1], []).append(match[0])
    return needed, extras


def _extra(extra: str, names: list[str]) -> dict[str, Any]:
    return {
        "missing": [name for name in names if version_of(name) is None],
        "command": f'pip install "vibrissa[{extra}]"',
    }


def _guarded(look: Any, problems: list[str]) -> list[str]:
    try:
        return look()
    except Exception as error:  # a broken installation may raise anything
        problems.append(f"{type(error).__name__}: {error}")
        return []


def _torch_devices() -> list[str]:
    import torch

    devices = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.cuda.is_available():
        devices += [
            f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())
        ]
    return devices


def _warp_devices() -> list[str]:
    warp = warp_module()
    return [f"{device.alias} {device.name}".strip() for device in warp.get_devices()]


def _rendering() -> str:
    asked = os.environ.get("MUJOCO_GL")
    if asked:
        return f"{asked} (MUJOCO_GL)"
    if version_of("mujoco") is None:
        return "still figures only (matplotlib); MuJoCo is not installed"
    if sys.platform != "linux" or os.environ.get("DISPLAY"):
        return "glfw (window system)"
    return f"no display; set MUJOCO_GL to one of {', '.join(_RENDERERS[:2])}"
