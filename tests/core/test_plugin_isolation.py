"""Whatever an installed plugin does, ftx and the other plugins go on; what is wrong is named, with its repair."""

from __future__ import annotations

import json
import sys
import textwrap

import pytest

from ftx.errors import FtxError, PlanError
from ftx.planner import make_plan
from ftx.plugins import PluginManager

CLUSTER = """
    from ftx import Artifact, Checkpoint, Step, StepConfig, hookimpl

    class Clusters(Artifact):
        kind = "clusters"

    class Config(StepConfig):
        pass

    def run(config, inputs, context):
        (context.out / "clusters.txt").write_text("1 2 3")
        return {"clusters": 3}

    @hookimpl
    def ftx_steps():
        yield Step(name="kmeans", stage="cluster", summary="find clusters", takes={"model": Checkpoint},
                   gives=Clusters, config=Config, run="ftx_cluster:run")
"""
STEP = "Step(name='x', stage='cluster', summary='', takes={takes}, gives={gives}, config={config}, run={run!r})"
VALUES = {
    "step": ("ftx_steps", STEP.format(takes="{}", gives=None, config="StepConfig", run="a:b"), "cluster:x"),
    "metric": ("ftx_metrics", "Metric(name='x', summary='', compute='a:b')", "x"),
    "runtime": ("ftx_runtimes", "Runtime(name='x', summary='', load='a:b', formats=('x',))", "x"),
    "command": ("ftx_commands", "Command(name='x', summary='', command='a:b')", "x"),
    "executor": ("ftx_executors", "Executor(name='x', summary='', execute='a:b')", "x"),
    "architecture": (
        "ftx_architectures",
        "Architecture(name='x', layers='l', attention_in=('q',), attention_out='o', ffn_in=('i',), ffn_out='o')",
        "x",
    ),
    "translator": ("ftx_translators", "Translator(name='x', summary='', translate='a:b')", "x"),
}


def hook(name, value):
    return f"from ftx import *\nfrom ftx import hookimpl\n@hookimpl\ndef {name}():\n    yield {value}\n"


def load(**options):
    return PluginManager.load(built_in=False, **options)


def error_of(name, manager):
    return next(info for info in manager.infos if info.name == name).error


@pytest.fixture
def trained(model_folder):
    """The project's model has a trained head."""
    (model_folder / "config.json").write_text(
        '{"architectures": ["BertForSequenceClassification"], "model_type": "bert"}'
    )


@pytest.fixture
def encoder_project(project, trained, tmp_path):
    """The command line's arguments that name a project with a trained model."""
    project()
    return ["--config", str(tmp_path / "project" / "ftx.toml")]


@pytest.mark.parametrize("what", VALUES)
def test_two_plugins_with_one_name_stop_every_plan_but_not_ftx(what, install, project):
    name, value, registered = VALUES[what]
    install("one", hook(name, value))
    install("two", hook(name, value))
    manager = PluginManager.load(third_party=True)
    found = [str(problem) for problem in [*manager.find_clashes(), *(manager.commands() and manager.problems)]]
    expected = f"plugins: the {what} {registered} is registered by both one (ftx-one 2.1) and two (ftx-two 2.1)"
    assert expected in found
    assert not manager.broken()
    if what != "command":
        with pytest.raises(PlanError, match=f"the {what} {registered} is registered by both"):
            make_plan(["train"], project(), PluginManager.load())


@pytest.mark.parametrize("block", ["two", "ftx-two"])
def test_blocking_one_side_of_a_clash_ends_it(block, install, monkeypatch):
    name, value, _ = VALUES["runtime"]
    install("one", hook(name, value))
    install("two", hook(name, value))
    monkeypatch.setenv("FTX_PLUGINS", f"-{block}")
    manager = load()
    assert manager.find_clashes() == []
    assert manager.origin(manager.runtimes()["x"]).name == "one"
    assert manager.blocked == {"two": f"FTX_PLUGINS=-{block}"}


def test_two_distributions_with_one_plugin_name_are_told_apart(install):
    install("same", hook(*VALUES["metric"][:2]), distribution="ftx-first")
    install("same", hook(*VALUES["runtime"][:2]), distribution="ftx-second")
    manager = load()
    assert [info.distribution for info in manager.infos if not info.error] == ["ftx-first"]
    assert manager.broken()[0].error == "its name is taken by same (ftx-first 2.1)"
    assert "x" in manager.all_metrics()
    assert "x" not in manager.runtimes()


def test_a_plugin_cannot_take_the_name_of_a_command_of_ftx(install, ftx):
    install("thief", hook("ftx_commands", "Command(name='runs', summary='stolen', command='a:b')"))
    assert "stolen" not in ftx("--help").stdout
    assert json.loads(ftx("runs", "--json").stdout) == []
    assert "the command runs is registered by both ftx and thief (ftx-thief 2.1)" in ftx("plugins").stdout


def test_a_command_that_two_plugins_add_runs_neither(install, ftx):
    for name in ("one", "two"):
        install(name, hook(*VALUES["command"][:2]))
    ran = ftx("x")
    assert ran.returncode == 2
    assert "registered by both one (ftx-one 2.1) and two (ftx-two 2.1)" in ran.stderr
    assert "FTX_PLUGINS=-two" in ran.stderr


@pytest.mark.parametrize(
    ("target", "error"),
    [("ftx_greet:missing", "AttributeError"), ("no_such_module:x", "No module named"), ("ftx_greet:VALUE", "no click")],
)
def test_a_command_that_cannot_be_loaded_names_its_plugin(target, error, install, ftx):
    command = f"Command(name='greet', summary='Say hello', command={target!r})"
    install("greet", "VALUE = 1\n" + hook("ftx_commands", command))
    ran = ftx("greet")
    assert ran.returncode == 2
    assert "the plugin greet (ftx-greet 2.1)" in ran.stderr
    assert error in ran.stderr
    assert "pip install --upgrade ftx-greet" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_unknown_command_tells_of_the_plugin_that_is_broken(install, ftx):
    install("greet", "raise RuntimeError('boom')")
    ran = ftx("greet")
    assert ran.returncode == 2
    assert "the plugin greet (ftx-greet 2.1) is broken: RuntimeError: boom" in ran.stderr


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (STEP.format(takes="{}", gives=None, config="dict", run="a:b"), "no class derived from ftx.StepConfig"),
        (STEP.format(takes="{'a': 3}", gives=None, config="StepConfig", run="a:b"), "is no kind of artifact"),
        (STEP.format(takes="{}", gives="'bundle'", config="StepConfig", run="a:b"), "is no kind of artifact"),
        (STEP.format(takes="{}", gives="'model'", config="StepConfig", run="a:b"), "takes no input of that name"),
        (STEP.format(takes="{}", gives=None, config="StepConfig", run="a.b.run"), "no import string"),
        (STEP.format(takes="{}", gives=None, config="StepConfig", run="a:b").replace("'x'", "'x y'"), "is no name"),
        (STEP.format(takes="{}", gives=None, config="StepConfig", run="a:b").replace("cluster", "budget"), "ftx.toml"),
        ("Step(name='x', nonsense=1)", "TypeError"),
    ],
)
def test_a_step_that_could_never_run_breaks_its_plugin_alone(step, error, install):
    install("odd", hook("ftx_steps", step))
    install("cluster", CLUSTER)
    manager = load()
    assert list(manager.steps()) == ["cluster:kmeans"]
    assert error in error_of("odd", manager)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("class Panic(BaseException): pass\nraise Panic('rust')", "Panic: rust"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_steps(nonsense): yield 1", "nonsense"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_step(): yield 1", "did you mean ftx_steps?"),
        ("from ftx import hookimpl\n@hookimpl(wrapper=True)\ndef ftx_steps(): return (yield)", "is a wrapper"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_steps():\n  import sys; sys.exit('no')", "SystemExit: no"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_what_a_plugin_does_while_it_loads_stays_with_it(code, error, install):
    install("broken", code)
    install("cluster", CLUSTER)
    manager = load()
    assert "cluster:kmeans" in manager.steps()
    assert error in error_of("broken", manager)


def test_a_hook_that_a_later_ftx_may_have_is_allowed_if_marked_optional(install):
    install("ahead", "from ftx import hookimpl\n@hookimpl(optionalhook=True)\ndef ftx_later(): yield 1")
    assert load().broken() == []


def test_what_a_plugin_prints_does_not_get_into_json(install, ftx):
    install("chatty", "print('hello')\n" + hook(*VALUES["runtime"][:2]).replace("    yield", "    print(1)\n    yield"))
    ran = ftx("plugins", "--json")
    assert json.loads(ran.stdout)["plugins"]
    assert "hello" in ran.stderr


def test_an_observer_that_exits_does_not_end_the_run(install):
    install("quitter", "import sys\nfrom ftx import hookimpl\n@hookimpl\ndef ftx_run_finished(run): sys.exit(1)")
    (message,) = load().notify("ftx_run_finished", run="r", status="done")
    assert "quitter failed in ftx_run_finished" in message


@pytest.mark.parametrize("damage", ["no metadata", "no version", "entry points"])
def test_damaged_metadata_of_one_package_is_reported_and_harms_no_other(damage, install):
    install("cluster", CLUSTER)
    info = install("broken", "")
    if damage == "no metadata":
        (info / "METADATA").unlink()
    elif damage == "no version":
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ftx-broken\n")
    else:
        (info / "entry_points.txt").write_text("[ftx]\nbroken\n")
    manager = load()
    assert "cluster:kmeans" in manager.steps()
    (broken,) = manager.broken()
    assert "damaged" in broken.error
    assert "broken" in broken.distribution


def test_a_slow_import_is_named_with_its_milliseconds(install, ftx):
    install("sleepy", "import time\ntime.sleep(0.31)\n")
    install("quick", "")
    listed = ftx("plugins").stdout.splitlines()
    (line,) = [line for line in listed if line.startswith("sleepy")]
    milliseconds = int(line.split("slow to import: ")[1].removesuffix(" ms"))
    assert milliseconds >= 310
    assert not [line for line in listed if line.startswith("quick") and "slow" in line]


def test_a_broken_plugin_is_listed_with_the_line_that_repairs_it(install, ftx):
    install("lacking", "import a_package_that_is_not_there")
    ran = ftx("plugins")
    assert ran.returncode == 0
    assert "lacking (ftx-lacking 2.1): nothing" in ran.stdout
    assert "broken: ModuleNotFoundError: No module named 'a_package_that_is_not_there'" in ran.stdout
    assert "→ pip install --upgrade ftx-lacking, or go without it: FTX_PLUGINS=-lacking" in ran.stdout


def test_strict_plugins_stop_a_command_but_not_the_ones_that_look(install, ftx):
    install("broken", "raise RuntimeError('boom')")
    ran = ftx("steps", FTX_STRICT_PLUGINS="1")
    assert ran.returncode == 2
    assert "boom" in ran.stderr
    assert ran.stderr.rstrip().endswith("ftx plugins")
    for looking in (["plugins"], ["--help"], ["doctor"]):
        assert ftx(*looking, FTX_STRICT_PLUGINS="1").returncode in (0, 1), looking
    assert ftx("steps", FTX_STRICT_PLUGINS="0").returncode == 0
    assert ftx("--no-plugins", "steps", FTX_STRICT_PLUGINS="1").returncode == 0


def test_strict_plugins_make_a_clash_an_error(install, monkeypatch):
    for name in ("one", "two"):
        install(name, hook(*VALUES["metric"][:2]))
    monkeypatch.setenv("FTX_STRICT_PLUGINS", "1")
    with pytest.raises(FtxError, match="the metric x is registered by both"):
        load()


def test_a_plugin_that_ftx_plugins_names_and_nobody_installed_is_a_problem(install, monkeypatch):
    install("cluster", CLUSTER)
    monkeypatch.setenv("FTX_PLUGINS", "clutser")
    (problem,) = load().problems
    assert "FTX_PLUGINS names clutser, which is not installed (did you mean cluster?)" in problem.message


def test_no_plugin_of_a_third_party_loads_where_ftx_plugins_is_empty(install, monkeypatch):
    install("cluster", CLUSTER)
    monkeypatch.setenv("FTX_PLUGINS", "")
    assert not load().steps()


@pytest.mark.parametrize(
    ("code", "environment", "options", "message"),
    [
        (CLUSTER, None, {}, None),
        (None, None, {}, "the project requires the plugin cluster, which is not there"),
        ("raise RuntimeError('boom')", None, {}, r"cluster \(ftx-cluster 2.1\) is broken: RuntimeError: boom"),
        (CLUSTER, "-cluster", {}, "FTX_PLUGINS=-cluster keeps it out"),
        (CLUSTER, None, {"third_party": False}, "--no-plugins keeps it out"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_a_plugin_that_the_project_requires(code, environment, options, message, install, project, monkeypatch):
    if code:
        install("cluster", code)
    if environment:
        monkeypatch.setenv("FTX_PLUGINS", environment)
    config = project('[requires]\nplugins = ["cluster"]\n')
    if message is None:
        assert make_plan(["cluster"], config, PluginManager.load()).steps[-1].name == "cluster:kmeans"
        return
    with pytest.raises(PlanError, match=message):
        make_plan(["train"], config, PluginManager.load(**options))


def test_the_check_of_a_plugins_step_that_fails_is_a_problem_that_names_it(install, project, trained):
    code = textwrap.dedent(CLUSTER).replace('run="ftx_cluster:run"', 'run="ftx_cluster:run", check="ftx_cluster:no"')
    install("cluster", code)
    with pytest.raises(PlanError, match=r"ftx_cluster:no of the plugin cluster \(ftx-cluster 2.1\) failed"):
        make_plan(["cluster"], project(), PluginManager.load())


def test_what_a_plugin_made_is_still_shown_after_it_was_uninstalled(install, site, ftx, encoder_project):
    info = install("cluster", CLUSTER)
    assert ftx("run", "cluster", *encoder_project).returncode == 0
    (info / "entry_points.txt").unlink()
    (site / "ftx_cluster.py").unlink()
    (run,) = json.loads(ftx("runs", "--json", *encoder_project).stdout)
    assert run["steps"][-1]["step"] == "cluster:kmeans"
    assert "cluster:kmeans" in ftx("show", run["id"], *encoder_project).stdout
    shown = ftx("show", "latest:cluster", *encoder_project)
    assert "made by  cluster:kmeans" in shown.stdout
    assert "ftx-cluster 2.1" in shown.stdout
    assert ftx("cache", "ls", *encoder_project).returncode == 0
    predicted = ftx("predict", "latest:cluster", "hello", *encoder_project)
    assert predicted.returncode == 2
    assert "latest:cluster is a clusters, which cannot classify" in predicted.stderr
    again = ftx("run", "cluster", *encoder_project)
    assert again.returncode == 2
    assert "unknown step cluster" in again.stderr
    assert not [ran for ran in (shown, predicted, again) if "Traceback" in ran.stderr]


def test_the_steps_of_a_plugin_hit_until_it_is_upgraded(install, ftx, encoder_project):
    def cached():
        ran = ftx("run", "cluster", "--json", *encoder_project)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)["steps"][-1]["cached"]

    install("cluster", CLUSTER)
    assert [cached(), cached()] == [False, True]
    install("cluster", CLUSTER, version="2.2")
    assert [cached(), cached()] == [False, True]


def test_an_evaluation_is_a_miss_once_a_plugin_adds_a_metric_or_is_upgraded(install, words_plugin, project):
    from ftx.plan import step_key
    from ftx.store import Store

    def keys(**metric):
        manager = words_plugin
        for name, version in metric.items():
            manager = PluginManager.load(built_in=False, third_party=False)
            manager.add("words", "words_plugin", "words-plugin", "1.0")
            manager.add(name, f"ftx_{name}", f"ftx-{name}", version)
        plan = make_plan(["train"], project(), manager)
        store = Store(plan.store)
        return {planned.id: step_key(planned, {}, plan, store) for planned in plan.steps}

    install("extra", hook(*VALUES["metric"][:2]))
    without, first, second = keys(), keys(extra="1"), keys(extra="2")
    assert len({without["evaluate:validation"], first["evaluate:validation"], second["evaluate:validation"]}) == 3
    assert without["train:words"] == first["train:words"] == second["train:words"]
    sys.modules.pop("ftx_extra", None)
