# SPDX-License-Identifier: Apache-2.0
"""Each check finds what it is there for: a check that cannot fail protects nothing."""

import ast

import pytest


@pytest.mark.parametrize(
    ("package", "half", "module", "words"),
    [
        ("vla_policy", "core", "rclpy.node", "ROS belongs into nodes/"),
        ("vla_policy", "core", "sensor_msgs.msg", "ROS belongs into nodes/"),
        ("sim_bridge", "core", "vla_interfaces.msg", "ROS belongs into nodes/"),
        ("vla_policy", "core", "vla_policy.nodes.convert", "not the other way round"),
        ("robot_bringup", "nodes", "torch", "installs without it"),
        ("sim_bridge", "core", "transformers", "installs without it"),
        ("experience", "core", "torch", "installs without it"),
        ("robot_operation", "core", "safetensors", "installs without it"),
        ("whetstone_common", "core", "vla_policy.core", "does not declare vla_policy"),
        ("vla_policy", "core", "rl_learner.core.replay", "does not declare rl_learner"),
    ],
)
def test_when_the_import_wall_is_breached_expect_the_breach_named(package, half, module, words):
    import imports

    assert any(words in fault for fault in imports.import_faults(package, half, module))


@pytest.mark.parametrize(
    ("package", "half", "module"),
    [
        ("vla_policy", "core", "torch"),
        ("rl_learner", "core", "vla_policy.core.chunk"),
        ("robot_bringup", "nodes", "rclpy"),
        ("robot_bringup", "core", "whetstone_common.core.stamp"),
        ("rl_learner", "core", "experience.core.transition"),
        ("whetstone_cli", "jobs", "torch"),
    ],
)
def test_when_an_import_is_allowed_expect_no_fault(package, half, module):
    import imports

    assert imports.import_faults(package, half, module) == []


@pytest.mark.parametrize(
    ("dependencies", "words"),
    [
        ({"experience": {"vla_policy"}}, "experience may only know whetstone_common"),
        ({"rl_learner": {"experience"}, "experience": {"rl_learner"}}, "in a circle: "),
    ],
)
def test_when_a_package_declares_what_it_must_not_know_expect_it_named(dependencies, words):
    import imports

    assert any(words in fault for fault in imports.dependency_faults(dependencies))


def test_when_packages_declare_what_they_may_expect_no_fault():
    import imports

    assert imports.dependency_faults(imports.ALLOWED) == []
    assert imports.declared("rl_learner") == {"experience", "rl_methods", "vla_policy", "whetstone_common"}


def test_when_core_reads_the_wall_clock_or_a_node_sleeps_expect_a_fault():
    import imports

    code = ast.parse("import time\nstart = time.time()\ntime.sleep(1)\ntime.monotonic()")
    assert [line for line, _ in imports.call_faults(code, "core")] == [2]
    assert [line for line, _ in imports.call_faults(code, "nodes")] == [3]


def test_when_a_function_is_too_long_expect_it_refused(tmp_path, monkeypatch):
    import sizes

    monkeypatch.setattr(sizes, "short", str)
    file = tmp_path / "long.py"
    file.write_text("def f():\n" + "    x = 1\n" * sizes.FUNCTION_REFUSE + "\n\ndef g():\n" + "    x = 1\n" * 45)
    refused, warned = sizes.judge(file, strict=True)
    assert ["f has 81 lines" in text for text in refused] == [True]
    assert ["g has 46 lines" in text for text in warned] == [True]


def test_when_a_docstring_is_long_expect_it_not_counted(tmp_path):
    import sizes

    file = tmp_path / "told.py"
    file.write_text('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n')
    assert [f.lines for f in sizes.functions(file)] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "-----BEGIN RSA PRIVATE" + " KEY-----",
        "key = AKIA" + "ABCDEFGHIJKLMNOP",
        "token: ghp_" + "a" * 36,
        'api_key = "' + "x" * 20 + '"',
        "url = https://user:" + "hunter22@host/",
    ],
)
def test_when_a_line_holds_a_secret_expect_it_found(line):
    import secrets_scan

    assert secrets_scan.faults_of_text(f"first\n{line}\n")[0][0] == 2


def test_when_a_line_is_plain_expect_no_secret():
    import secrets_scan

    assert secrets_scan.faults_of_text("password_field = read()\nurl = https://host/path\n") == []


def test_when_a_parameter_is_read_or_declared_by_hand_expect_it_listed(tmp_path):
    import parameters

    file = tmp_path / "node.py"
    file.write_text("self.param('rate_hz')\nself.declare_parameter('x', 1)\n")
    assert parameters.reads(file) == [(1, "param", "rate_hz"), (2, "declare_parameter", "x")]


def test_when_a_preset_sets_what_no_schema_knows_expect_it_named(tmp_path, monkeypatch):
    import parameters
    from whetstone_common.core.parameters import ParameterSchema

    monkeypatch.setattr(parameters, "short", str)
    schema = tmp_path / "arm_params.yaml"
    schema.write_text("rate_hz: {type: double, default: 20.0, bounds: [1.0, 100.0], description: How often in Hz.}\n")
    preset = tmp_path / "preset.yaml"
    preset.write_text(
        "/**/arm: {ros__parameters: {rate_hz: 500.0, use_sim_time: true}}\n"
        "/**/leg: {ros__parameters: {a: 1}}\n/**: {ros__parameters: {b: 1}}\n"
    )
    faults = parameters.preset_faults(preset, {"arm": ParameterSchema.load(schema)})
    assert ["outside" in faults[0], "no node 'leg'" in faults[1], "'b' for all nodes" in faults[2]] == [True] * 3


def test_when_a_class_name_is_defined_twice_expect_both_places(tmp_path, monkeypatch):
    import names

    monkeypatch.setattr(names, "short", lambda path: path.name)
    for name, text in (
        ("a.py", "class Step:\n    pass\n"),
        ("b.py", "\nclass Step:\n    class Inner:\n        pass\n"),
    ):
        (tmp_path / name).write_text(text)
    assert names.repeated([tmp_path / "a.py"]) == []
    (fault,) = names.repeated(sorted(tmp_path.iterdir()))
    assert fault.startswith("class Step is defined 2 times: a.py:1, b.py:2")


def test_when_a_class_has_too_many_attributes_expect_it_refused(tmp_path, monkeypatch):
    import sizes

    monkeypatch.setattr(sizes, "short", str)
    assert sizes.ATTRIBUTES_REFUSE == 12
    file = tmp_path / "large.py"
    names = [f"        self.x{number}, self.y = 1, 2\n" for number in range(sizes.ATTRIBUTES_REFUSE)]
    few = "class B:\n    def f(self):\n        self.a: int = 1\n        self.a += 1\n        print(self.b)\n"
    file.write_text("class A:\n    def f(self):\n" + "".join(names) + few)
    refused = sizes.judge_classes(file)
    assert [f"A has {sizes.ATTRIBUTES_REFUSE + 1} attributes" in text for text in refused] == [True]


def test_when_a_class_has_as_many_attributes_as_it_may_expect_it_accepted_and_with_one_more_not(tmp_path, monkeypatch):
    import sizes

    monkeypatch.setattr(sizes, "short", str)
    full, one_more = tmp_path / "full.py", tmp_path / "one_more.py"
    # In several methods, in tuples, typed and added to: each name counts once. Names on others do not count.
    names = "".join(f"        self.x{number}: int = 0\n" for number in range(sizes.ATTRIBUTES_REFUSE - 2))
    text = (
        f"class A:\n    def f(self):\n{names}    def g(self, other):\n        self.x0, (self.y, self.z) = 1, (2, 3)\n"
    )
    text += "        self.x1 += 1\n        other.w = self.v\n"
    full.write_text(text)
    one_more.write_text(f"{text}        self.v = 1\n")
    assert (sizes.judge_classes(full), len(sizes.judge_classes(one_more))) == ([], 1)
