"""`ftx plugins new`: what it refuses, and that what it writes is a plugin that passes its own tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from ftx.errors import FtxError
from ftx.scaffold.package import names_of, write_package

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_package("ftx-my-rounding", tmp_path_factory.mktemp("new"))


def test_the_package_holds_what_a_plugin_needs(package):
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"] == {"ftx": {"my_rounding": "ftx_my_rounding.hooks"}}
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {
        "README.md",
        "src/ftx_my_rounding/hooks.py",
        "src/ftx_my_rounding/py.typed",
        "tests/conftest.py",
        "tests/test_round.py",
    } <= files
    assert not [path for path in files if "tmpl" in path or "$" in (package / path).read_text(encoding="utf-8")]


def test_its_code_is_as_well_kept_as_ftxs_own(package):
    for tool in (["ruff", "check"], ["ruff", "format", "--check"]):
        command = [sys.executable, "-m", *tool, "--isolated", "--line-length=120", "."]
        ran = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", ["Ftx-Thing", "ftx_thing", "9lives", "ftx--x", "-x", "ftx thing", "../x", ""])
def test_a_name_that_pip_would_not_take_is_refused_with_one_that_it_would(name, tmp_path):
    with pytest.raises(FtxError, match="no name for a plugin") as raised:
        write_package(name, tmp_path)
    assert names_of(raised.value.hints[-1].removeprefix("ftx plugins new "))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ftx-toolchain", "ftx", "ftx-class", "ftx-serving", "ftx-train"])
def test_a_name_that_is_taken_is_refused(name, tmp_path):
    with pytest.raises(FtxError, match="taken"):
        write_package(name, tmp_path)


def test_a_folder_that_exists_is_left_alone(tmp_path):
    (tmp_path / "ftx-thing").mkdir()
    with pytest.raises(FtxError, match="exists already") as raised:
        write_package("ftx-thing", tmp_path)
    assert "--dir" in raised.value.hints[-1]
    assert not list((tmp_path / "ftx-thing").iterdir())


def test_the_command_line_writes_it_and_says_what_to_do_next(make_project):
    project = make_project(rows="text,label\n")
    ran = project.ftx("plugins", "new", "ftx-thing", "--dir", "below")
    assert ran.code == 0, ran.err
    assert (project.root / "below/ftx-thing/src/ftx_thing/hooks.py").is_file()
    assert "pip install -e" in ran.out
    again = project.ftx("plugins", "new", "ftx-thing", "--dir", "below")
    assert again.code == 2
    assert again.hints[-1].startswith("choose another folder")


@pytest.mark.slow
def test_its_own_tests_pass_as_they_are(package):
    ran = run_tests([sys.executable], package)
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr


@pytest.mark.slow
def test_installed_by_pip_it_is_listed_and_passes_its_tests(package, tmp_path):
    """In an environment of its own, beside the packages of this one; ftx itself comes from this tree."""
    copy = Path(shutil.copytree(package, tmp_path / "package"))
    python = fresh_environment(tmp_path / "venv")
    install = [*python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(copy)]
    subprocess.run(install, check=True, capture_output=True)
    listed = subprocess.run([*python, "-m", "ftx", "steps"], capture_output=True, text=True, check=True)
    assert "my_rounding:round" in listed.stdout
    assert "4 passed" in run_tests(python, copy).stdout


def run_tests(python, package):
    command = [*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(package)]
    return subprocess.run(command, cwd=package, env=os.environ, capture_output=True, text=True, check=False)


def fresh_environment(folder):
    """A new virtual environment that sees the packages of this one."""
    venv.create(folder, with_pip=True)
    [site] = folder.glob("lib/python*/site-packages")
    own = [path for path in sys.path if path.endswith("site-packages")]
    # By `addsitedir`, which reads their own .pth files too: this package may be installed as editable.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in own]
    (site / "packages_of_the_tests.pth").write_text("".join(lines), encoding="utf-8")
    return [str(folder / "bin" / "python")]
