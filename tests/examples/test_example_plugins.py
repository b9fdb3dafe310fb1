"""The packages under examples/plugins: whole as they lie there, and, installed by pip, by their own tests."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tomllib
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from ftx.plugins import PluginManager

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
PACKAGES = sorted(path.name for path in EXAMPLES.iterdir() if (path / "pyproject.toml").is_file())


def entry_points(name: str) -> dict[str, str]:
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points: dict[str, str] = project["entry-points"]["ftx"]
    return points


@pytest.fixture(params=PACKAGES)
def package(request, monkeypatch):
    """The name of an example; its source is importable."""
    monkeypatch.syspath_prepend(str(EXAMPLES / request.param / "src"))
    importlib.invalidate_caches()
    yield request.param
    module = request.param.replace("-", "_")
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        del sys.modules[name]


def test_each_example_loads_beside_the_built_in_plugins_and_adds_something(package, isolated_plugins):
    [module] = entry_points(package).values()
    before, after = PluginManager.load(third_party=False), isolated_plugins(module)
    assert after.infos[-1].error == ""
    assert after._pluggy.get_hookcallers(sys.modules[module])
    assert set(before.steps()) <= set(after.steps())


def test_each_example_is_a_whole_package(package):
    folder = EXAMPLES / package
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == package
    assert (folder / "src" / package.replace("-", "_") / "py.typed").is_file()
    assert f"pip install {package}" in (folder / "README.md").read_text(encoding="utf-8")
    assert list((folder / "tests").glob("test_*.py"))
    assert find_spec(package.replace("-", "_")) is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_each_example_installed_by_pip_passes_its_tests_and_is_listed(name, tmp_path):
    """In an environment of its own, beside the packages of this one; what only the example needs comes by pip."""
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    [site] = folder.glob("lib/python*/site-packages")
    own = [path for path in sys.path if path.endswith("site-packages")]
    # By `addsitedir`, which reads their own .pth files too: this package may be installed as editable.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in own]
    (site / "packages_of_the_tests.pth").write_text("".join(lines), encoding="utf-8")
    project = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [each for each in project["dependencies"] if find_spec(module_of(each)) is None]
    for arguments in (needed, ["--no-deps", "--editable", str(EXAMPLES / name)]):
        if arguments:
            command = [python, "-m", "pip", "install", "--quiet", *arguments]
            installed = subprocess.run(command, capture_output=True, text=True, check=False)
            assert installed.returncode == 0, installed.stderr
    listed = subprocess.run([python, "-m", "ftx", "plugins"], capture_output=True, text=True, check=True).stdout
    assert f"({name} 0.1.0)" in listed
    assert "broken" not in listed
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    ran = subprocess.run(command, cwd=EXAMPLES / name, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def module_of(requirement: str) -> str:
    """The import name of a requirement, as far as these examples need it."""
    name = re.split(r"[><=\[ ]", requirement)[0]
    return {"ftx-toolchain": "ftx", "mlflow-skinny": "mlflow"}.get(name, name.replace("-", "_"))
