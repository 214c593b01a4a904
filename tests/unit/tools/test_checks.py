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
        ("whetstone_common", "core", "vla_policy.core", "may only know"),
        ("vla_policy", "core", "rl_learner.core.replay", "may only know"),
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
    ],
)
def test_when_an_import_is_allowed_expect_no_fault(package, half, module):
    import imports

    assert imports.import_faults(package, half, module) == []


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
    from whetstone_common.core.parameters import Schema

    monkeypatch.setattr(parameters, "short", str)
    schema = tmp_path / "arm_params.yaml"
    schema.write_text("rate_hz: {type: double, default: 20.0, bounds: [1.0, 100.0], description: How often in Hz.}\n")
    preset = tmp_path / "preset.yaml"
    preset.write_text(
        "/**/arm: {ros__parameters: {rate_hz: 500.0, use_sim_time: true}}\n"
        "/**/leg: {ros__parameters: {a: 1}}\n/**: {ros__parameters: {b: 1}}\n"
    )
    faults = parameters.preset_faults(preset, {"arm": Schema.load(schema)})
    assert ["outside" in faults[0], "no node 'leg'" in faults[1], "'b' for all nodes" in faults[2]] == [True] * 3
