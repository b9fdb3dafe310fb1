"""What is promised to plugins: stable names are there, and a renamed one works for one minor version."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

import ftx
from ftx import api_version, hookspecs
from ftx.api_version import ApiDeprecation, Renamed
from ftx.plugins import PluginManager

OLD_HOOK = """
    from ftx import Metric, hookimpl

    @hookimpl
    def ftx_figures():
        yield Metric(name="kappa", summary="x", compute="a:b")

    @hookimpl
    def ftx_run_ended(status):
        print(status)
"""
OLD_FIELD = """
    from ftx import Metric, hookimpl

    @hookimpl
    def ftx_metrics():
        yield Metric(name="kappa", explanation="how far labels agree", compute="a:b")
"""


@pytest.fixture
def rename(monkeypatch):
    """`rename(old, new, owner="", since=<this version>)`: as if the API had renamed something."""
    entries = []

    def add(old, new, owner="", since=ftx.API_VERSION):
        entries.append(Renamed(old, new, since, owner))
        monkeypatch.setattr(api_version, "RENAMED", tuple(entries))

    return add


def load():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        manager = PluginManager.load(built_in=False)
        manager.metrics("text-classification")
    shown = [str(warning.message) for warning in caught if issubclass(warning.category, ApiDeprecation)]
    (info,) = manager.infos
    return manager, info, shown


def test_every_stable_name_is_there():
    assert {name for name in vars(hookspecs) if name.startswith("ftx_")} >= api_version.STABLE_HOOKS
    for owner, names in api_version.STABLE_FIELDS.items():
        kind = getattr(ftx, owner)
        fields = {field.name for field in dataclasses.fields(kind)} | set(vars(kind))
        assert names <= fields, owner


def test_a_renamed_hook_works_and_is_told_of_with_its_new_name(install, rename, capsys):
    rename("ftx_figures", "ftx_metrics")
    rename("ftx_run_ended", "ftx_run_finished")
    install("kappa", OLD_HOOK)
    manager, info, shown = load()
    assert info.error == ""
    assert "kappa" in manager.all_metrics()
    assert manager.notify("ftx_run_finished", run="r", status="done") == []
    assert capsys.readouterr().out == "done\n"
    assert len(shown) == 2
    assert "ftx_figures is called ftx_metrics since version 1.0" in " ".join(info.deprecations)


def test_a_plugin_with_the_old_and_the_new_name_of_a_hook_is_called_once_and_not_warned(install, rename):
    rename("ftx_figures", "ftx_metrics")
    rename("ftx_run_ended", "ftx_run_finished")
    code = (
        OLD_HOOK
        + "\n    ftx_run_finished = ftx_run_ended\n\n    @hookimpl\n    def ftx_metrics():\n        return []\n"
    )
    install("kappa", code)
    manager, info, shown = load()
    assert (info.error, info.deprecations, shown) == ("", (), [])
    assert not manager.all_metrics()


def test_a_renamed_field_works_and_is_told_of_with_its_new_name(install, rename):
    rename("explanation", "summary", owner="Metric")
    install("kappa", OLD_FIELD)
    manager, info, shown = load()
    metric = manager.all_metrics()["kappa"]
    assert metric.summary == "how far labels agree"
    with pytest.warns(ApiDeprecation, match=r"Metric.explanation is called Metric.summary"):
        assert metric.explanation == "how far labels agree"
    assert len(info.deprecations) == len(shown) == 1
    assert "Metric.explanation is called Metric.summary since version 1.0" in shown[0]


@pytest.mark.parametrize(("code", "old", "new", "owner"), [
    (OLD_HOOK, "ftx_figures", "ftx_metrics", ""),
    (OLD_FIELD, "explanation", "summary", "Metric"),
])  # fmt: skip
def test_one_minor_version_later_the_old_name_is_an_error_that_names_the_new(
    code, old, new, owner, install, rename, monkeypatch
):
    rename("ftx_run_ended", "ftx_run_finished", since="1.1")
    rename(old, new, owner, since="1.0")
    monkeypatch.setattr(api_version, "API_VERSION", "1.1")
    install("kappa", code)
    manager, info, _ = load()
    place = f"{owner}." if owner else ""
    assert f"{place}{old} is called {place}{new} since version 1.0" in info.error
    assert not manager.all_metrics()
    assert manager.notify("ftx_run_finished", run="r", status="done") == []


def test_a_name_that_never_was_is_still_an_error():
    with pytest.raises(TypeError, match="explanation"):
        ftx.Metric(name="x", explanation="y", compute="a:b")
    with pytest.raises(AttributeError, match="'Metric' object has no attribute 'explanation'"):
        _ = ftx.Metric(name="x", summary="y", compute="a:b").explanation


def test_the_old_and_the_new_name_of_a_field_together_are_an_error(rename):
    rename("explanation", "summary", owner="Metric")
    with pytest.warns(ApiDeprecation), pytest.raises(TypeError, match="both summary and explanation"):
        ftx.Metric(name="x", summary="y", explanation="y", compute="a:b")


def test_plugins_lists_what_is_deprecated_with_its_plugin(install, ftx, site):
    # As if the next version had renamed a field: no name has been renamed yet.
    (site / "sitecustomize.py").write_text(
        "from ftx import api_version\n"
        "api_version.RENAMED = (api_version.Renamed('explanation', 'summary', api_version.API_VERSION, 'Metric'),)\n"
    )
    install("kappa", OLD_FIELD)
    shown = ftx("plugins").stdout
    assert "kappa (ftx-kappa 2.1): metric kappa" in shown
    assert "deprecated: Metric.explanation is called Metric.summary" in shown
    assert "warning: the plugin kappa (ftx-kappa 2.1): Metric.explanation is called" in ftx("doctor").stdout


def test_no_old_name_is_of_a_version_that_is_still_to_come():
    assert all(entry.since <= ftx.API_VERSION for entry in api_version.RENAMED)
