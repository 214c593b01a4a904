# SPDX-License-Identifier: Apache-2.0
"""From launch file to processes: what is understood, and what is refused by name and line."""

from pathlib import Path

import pytest
import yaml

from robot_bringup.launch_runner.document import LaunchError, read
from robot_bringup.launch_runner.plan import Planner, Process


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `demo` with one executable and one parameter file."""
    prefix = tmp_path / "prefix"
    executable = prefix / "lib" / "demo" / "talker"
    executable.parent.mkdir(parents=True)
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    (prefix / "share" / "demo").mkdir(parents=True)
    (prefix / "share" / "demo" / "some.yaml").write_text("/**: {ros__parameters: {rate: 5}}\n")
    marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / "demo"
    marker.parent.mkdir(parents=True)
    marker.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))
    return prefix


def plan(tmp_path: Path, body: str, environment=None, **arguments: str) -> list[Process]:
    file = tmp_path / "test.launch.xml"
    file.write_text(f"<launch>\n{body}\n</launch>\n")
    return Planner(tmp_path, environment or {}).plan(file, arguments)


def commands(processes: list[Process]) -> list[str]:
    return [" ".join(process.argv) for process in processes]


def test_when_an_argument_is_given_expect_it_in_place_of_its_default(tmp_path):
    body = '<arg name="word" default="hello"/><executable cmd="echo $(var word) world"/>'
    assert commands(plan(tmp_path, body)) == ["echo hello world"]
    assert commands(plan(tmp_path, body, word="bye")) == ["echo bye world"]


def test_when_an_argument_without_default_is_missing_expect_its_name_and_line(tmp_path):
    with pytest.raises(LaunchError, match=r"test.launch.xml:2: <arg> 'word' needs a value"):
        plan(tmp_path, '<arg name="word"/>')


def test_when_an_unknown_argument_is_given_expect_the_known_ones_named(tmp_path):
    with pytest.raises(LaunchError, match="no argument 'work'; it has word"):
        plan(tmp_path, '<arg name="word" default=""/>', work="x")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<executable cmd='a'/>\n<timer period='1'/>", r":3: <timer> inside <launch> is not known"),
        ("<node pkg='demo' exec='talker' machine='x'/>", r":2: <node> has the attribute 'machine'"),
        ("<group>\n<arg name='x' default='1'/></group>", r":3: <arg> inside <group>"),
        ("<executable cmd='$(anon x)'/>", r":2: <executable> uses \$\(anon ...\)"),
        ("<executable cmd='$(var nothing)'/>", "which is not set"),
        ("<executable cmd='$(var open'/>", "never closed"),
        ("<executable cmd='a' if='maybe'/>", "neither true nor false"),
        ("<executable cmd='a' on_exit='restart'/>", "only 'shutdown' is known"),
        ("<node pkg='nowhere' exec='talker'/>", "'nowhere', which is not installed"),
        ("<node pkg='demo' exec='listener'/>", "'listener', which package 'demo' does not have"),
        ("<node pkg='demo' exec='talker'><param from='/none.yaml'/></node>", "/none.yaml is not a file"),
        ("<executable cmd='a' if='$(eval \"open(1)\")'/>", "only literals, comparisons"),
        ("<include file='/none.launch.xml'/>", "/none.launch.xml"),
        ("<executable", "not well-formed"),
    ],
)
def test_when_the_file_has_something_else_expect_it_refused_by_name_and_line(tmp_path, package, body, words):
    with pytest.raises(LaunchError, match=words):
        plan(tmp_path, body)


def test_when_a_condition_is_false_expect_the_action_and_its_children_left_out(tmp_path):
    body = """<arg name="sim" default="true"/>
    <executable cmd="sim" if="$(var sim)"/> <executable cmd="real" unless="$(var sim)"/>
    <group if="$(eval '\\'$(var sim)\\' == \\'false\\'')"><executable cmd="never"/></group>"""
    body = body.replace("\\'", "&quot;")
    assert commands(plan(tmp_path, body)) == ["sim"]
    assert commands(plan(tmp_path, body, sim="false")) == ["real", "never"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("&quot;a&quot; == &quot;a&quot;", True),
        ("1 &lt; 2 and not 3 &lt; 2", True),
        ("False or &quot;a&quot; != &quot;a&quot;", False),
    ],
)
def test_when_eval_is_boolean_expect_its_value(tmp_path, expression, expected):
    processes = plan(tmp_path, f'<executable cmd="x" if="$(eval \'{expression}\')"/>')
    assert bool(processes) is expected


def test_when_a_group_is_scoped_expect_its_variables_and_environment_to_end_with_it(tmp_path):
    body = """<let name="a" value="1"/><set_env name="E" value="out"/>
    <group><let name="a" value="2"/><set_env name="E" value="in"/><executable cmd="x $(var a) $(env E)"/></group>
    <executable cmd="x $(var a) $(env E)"/>"""
    processes = plan(tmp_path, body)
    assert commands(processes) == ["x 2 in", "x 1 out"]
    assert [p.environment["E"] for p in processes] == ["in", "out"]


def test_when_an_environment_variable_is_missing_expect_the_default(tmp_path):
    body = '<executable cmd="x $(env THREADS 1) $(env HOME)"/>'
    assert commands(plan(tmp_path, body, environment={"HOME": "/h"})) == ["x 1 /h"]


def test_when_a_file_is_included_expect_its_processes_with_the_arguments_given(tmp_path):
    (tmp_path / "part.launch.xml").write_text(
        '<launch><arg name="word" default="x"/><executable cmd="echo $(var word) $(dirname)"/></launch>'
    )
    body = '<include file="$(dirname)/part.launch.xml"><arg name="word" value="y"/></include>'
    assert commands(plan(tmp_path, body)) == [f"echo y {tmp_path}"]


def test_when_a_node_has_parameters_and_remaps_expect_ros_arguments(tmp_path, package):
    body = """<node pkg="demo" exec="talker" name="t" namespace="left" args="--loud">
      <param from="$(find-pkg-share demo)/some.yaml"/><param name="rate" value="7"/>
      <param name="path" value=""/><param name="code" value="007" type="str"/>
      <remap from="chatter" to="talk"/><env name="X" value="1"/></node>"""
    (process,) = plan(tmp_path, body)
    assert process.argv[:7] == (
        str(package / "lib/demo/talker"), "--loud", "--ros-args", "-r", "__node:=t", "-r", "__ns:=/left",
    )  # fmt: skip
    assert process.argv[-2:] == ("-r", "chatter:=talk")
    files = [Path(word) for word in process.argv if word.endswith(".yaml")]
    values = [yaml.safe_load(file.read_text())["/**"]["ros__parameters"] for file in files]
    assert values == [{"rate": 5}, {"rate": 7}, {"path": ""}, {"code": "007"}]
    assert process.environment["X"] == "1"
    assert process.name == "t-1"


def test_when_a_process_respawns_or_ends_all_expect_it_planned_so(tmp_path):
    body = """<executable cmd="x" respawn="true" respawn_delay="0.5" output="screen"/>
    <executable cmd="y" on_exit="shutdown"/>"""
    first, second = plan(tmp_path, body)
    assert (first.respawn, first.respawn_delay_s, first.output, first.ends_all) == (True, 0.5, "screen", False)
    assert (second.respawn, second.ends_all) == (False, True)


def test_when_our_own_launch_files_are_planned_expect_the_whole_ring():
    launch = Path(__file__).resolve().parents[3] / "launch"
    pytest.importorskip("rclpy")
    from ament_index_python.packages import PackageNotFoundError

    for file in sorted(launch.glob("*.launch.xml")):
        try:
            arguments = {"robots": "[robot_1]"} if file.name == "vla.launch.xml" else {}
            planned = Planner(Path("/tmp"), {}).plan(file, arguments)
        except PackageNotFoundError:
            pytest.skip("the workspace is not built")
        assert planned, file


@pytest.mark.parametrize(
    ("arguments", "learning"),
    [
        ({}, {"transition_node", "learner_node"}),
        ({"freeze": "true"}, {"learner_node"}),
        ({"learner": "false"}, {"transition_node"}),
    ],
)
def test_when_a_run_trains_expect_its_nodes_beside_the_others_and_the_learner_unless_it_runs_elsewhere(
    tmp_path, arguments, learning
):
    launch = Path(__file__).resolve().parents[3] / "launch" / "whetstone.launch.xml"
    pytest.importorskip("rclpy")
    whole = Planner(tmp_path, {}).plan(launch, {})
    planned = Planner(tmp_path, {}).plan(launch, {"train": "true", "run": "mine", "method": "expo", **arguments})
    names = {process.name.rpartition("-")[0] for process in planned}
    assert names - {process.name.rpartition("-")[0] for process in whole} == learning


@pytest.mark.parametrize(
    ("arguments", "storage"),
    [
        ({}, []),
        ({"record": "true"}, ["recorder_node"]),
        ({"train": "1"}, ["transition_node"]),
        ({"train": "true", "record": "True"}, ["recorder_node", "transition_node"]),
        ({"train": "true", "record": "true", "freeze": "true"}, ["recorder_node"]),
        ({"train": "true", "freeze": "true"}, []),
    ],
)
def test_when_something_is_to_be_kept_expect_episodes_to_wait_for_its_storage(tmp_path, arguments, storage):
    launch = Path(__file__).resolve().parents[3] / "launch" / "whetstone.launch.xml"
    pytest.importorskip("rclpy")
    planned = Planner(tmp_path, {}).plan(launch, {"run": "mine", "method": "expo", **arguments})
    (episodes,) = (process for process in planned if process.name.startswith("episode_node"))
    (file,) = (word for word in episodes.argv if "/storage/" in word)
    values = yaml.safe_load(Path(file).read_text()).get("/**/episode_node", {"ros__parameters": {}})
    assert values["ros__parameters"].get("storage_nodes", []) == storage


@pytest.mark.parametrize("node", ["arm_node", "operator_node", "console_node"])
def test_when_the_world_waits_expect_who_takes_over_to_stamp_by_the_clock_of_the_arm(tmp_path, node):
    launch = Path(__file__).resolve().parents[3] / "launch" / "whetstone.launch.xml"
    pytest.importorskip("rclpy")
    planned = Planner(tmp_path, {}).plan(launch, {"console": "true", "pace": "lockstep"})
    (process,) = (each for each in planned if each.name.startswith(node))
    said = []  # the last file counts
    for file in (word for word in process.argv if word.endswith(".yaml")):
        blocks = yaml.safe_load(Path(file).read_text()) or {}
        values = [blocks.get(key, {}).get("ros__parameters", {}) for key in ("/**", f"/**/{node}")]
        said += [each["use_sim_time"] for each in values if "use_sim_time" in each]
    assert said[-1] is True


def test_when_the_learner_has_a_machine_of_its_own_expect_its_launch_file_to_start_nothing_else(tmp_path):
    launch = Path(__file__).resolve().parents[3] / "launch" / "train.launch.xml"
    pytest.importorskip("rclpy")
    (planned,) = Planner(tmp_path, {}).plan(launch, {"run": "mine", "method": "expo"})
    assert planned.name.startswith("learner_node")


@pytest.mark.parametrize(("given", "robots"), [({}, [""]), ({"robots": "[robot_1, robot_2]"}, ["robot_1", "robot_2"])])
def test_when_several_robots_feed_a_learner_expect_their_names_and_none_of_its_nodes_in_a_robots_stack(
    tmp_path, given, robots
):
    launch = Path(__file__).resolve().parents[3] / "launch"
    pytest.importorskip("rclpy")
    (learner,) = Planner(tmp_path, {}).plan(launch / "train.launch.xml", {"run": "mine", **given})
    blocks = [yaml.safe_load(file.read_text()) for file in learner.parameter_files if tmp_path in file.parents]
    assert {"robots": robots} in [block["/**"]["ros__parameters"] for block in blocks]
    arguments = {"namespace": "robot_1", "vla": "false", "train": "true", "learner": "false", "run": "mine"}
    nodes = {each.node for each in Planner(tmp_path, {}).plan(launch / "whetstone.launch.xml", arguments)}
    assert not nodes & {"vla_node", "learner_node"} and {"transition_node", "steering_node"} <= nodes


def test_when_one_vla_node_serves_several_robots_expect_it_alone_and_none_in_the_stack_of_a_robot(tmp_path):
    launch = Path(__file__).resolve().parents[3] / "launch"
    pytest.importorskip("rclpy")
    (served,) = Planner(tmp_path, {}).plan(launch / "vla.launch.xml", {"robots": "[robot_1, robot_2]"})
    blocks = [yaml.safe_load(file.read_text()) for file in served.parameter_files if tmp_path in file.parents]
    assert {"robots": ["robot_1", "robot_2"]} in [block["/**"]["ros__parameters"] for block in blocks]
    arguments = {"namespace": "robot_1", "vla": "false"}
    nodes = {each.node for each in Planner(tmp_path, {}).plan(launch / "whetstone.launch.xml", arguments)}
    assert "vla_node" not in nodes and {"observation_node", "steering_node", "arm_node"} <= nodes


_NEW = "query_stride, query_always and scripted_query_timeout_s"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("look_stride", _NEW),
        ("look_always", _NEW),
        ("scripted_patience_s", _NEW),
        ("gamma", "schedule.discount of the method file"),
    ],
)
def test_when_an_argument_has_its_earlier_name_expect_a_process_that_refuses_with_the_new_one(tmp_path, name, words):
    launch = Path(__file__).resolve().parents[3] / "launch" / "whetstone.launch.xml"
    pytest.importorskip("rclpy")

    def refusals(arguments: dict[str, str]) -> list[Process]:
        return [p for p in Planner(tmp_path, {}).plan(launch, arguments) if p.name.startswith("refusal")]

    assert not refusals({})
    (refusal,) = refusals({name: "1"})
    assert refusal.ends_all and words in " ".join(refusal.argv)


@pytest.mark.parametrize("name", ["serve", "train"])
def test_when_a_launch_file_is_included_expect_each_of_its_arguments_declared_by_the_one_that_includes_it(name):
    def declared(file: str) -> set[str]:
        root = read(Path(__file__).resolve().parents[3] / "launch" / f"{file}.launch.xml")
        return {each.attributes["name"] for tag in ("arg", "let") for each in root.named(tag)}

    # one follows from another argument, the other is for a learner by itself
    own = {"serve": {"pace_file"}, "train": {"robots"}}[name]
    assert declared(name) - own <= declared("whetstone")


def test_when_an_argument_is_given_to_the_whole_expect_the_included_nodes_to_have_it(tmp_path):
    pytest.importorskip("rclpy")
    launch = Path(__file__).resolve().parents[3] / "launch" / "whetstone.launch.xml"
    given = {"train": "true", "run": "mine", "n_candidates": "4", "learner_seed": "7", "crop": "pad", "guidance": "2.0"}
    found: dict[str, dict[str, object]] = {}
    for process in Planner(tmp_path, {}).plan(launch, given):
        texts = [path.read_text(encoding="utf-8") for path in process.parameter_files if tmp_path in path.parents]
        for text in texts:
            for block in yaml.safe_load(text).values():
                found.setdefault(process.node, {}).update(block["ros__parameters"])
    assert found["observation_node"]["crop"] == "pad" and found["vla_node"]["guidance"] == 2.0
    assert found["steering_node"]["n_candidates"] == found["learner_node"]["candidates"] == 4
    assert found["learner_node"]["run"] == found["steering_node"]["run"] == "mine"
    assert found["learner_node"]["seed"] == 7
