import subprocess
import sys
from importlib import import_module
from pkgutil import walk_packages

import pytest

import vibrissa

HEAVY = ("torch", "warp", "mujoco", "trimesh", "matplotlib", "scipy", "h5py", "numpy", "tyro")


def test_import_is_light():
    code = f"import sys, vibrissa; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_morphology_needs_numpy_alone():
    code = (
        "import sys, vibrissa; vibrissa.mouse_array(); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['numpy']"


def test_public_names_resolve():
    for name in dir(vibrissa):
        assert getattr(vibrissa, name) is not None or name.startswith("__")
    assert vibrissa.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vibrissa.nothing  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    "module",
    sorted(
        m.name
        for m in walk_packages(vibrissa.__path__, "vibrissa.")
        if m.name.split(".")[1] in ("core", "morphology", "cli") and "__main__" not in m.name
    ),
)
def test_modules_have_a_docstring(module):
    assert (import_module(module).__doc__ or "").strip() or module.endswith("core")
