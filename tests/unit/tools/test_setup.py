# SPDX-License-Identifier: Apache-2.0
"""The set-up: mending the wheels, stamps, and the words for what the user has to do."""

import os
import runpy
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_when_a_cmake_file_names_the_builder_expect_our_directories(tmp_path):
    from mend import mend_tree

    file = tmp_path / "share" / "std_msgs" / "cmake" / "export.cmake"
    file.parent.mkdir(parents=True)
    file.write_text(
        'INCLUDES "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include;'
        '/opt/python/cp312-cp312/include/python3.12;${_IMPORT_PREFIX}/include"\n'
    )
    assert mend_tree(tmp_path, "/here/include", "/here/numpy") == 1
    assert file.read_text() == 'INCLUDES "/here/numpy;/here/include;${_IMPORT_PREFIX}/include"\n'
    assert mend_tree(tmp_path, "/here/include", "/here/numpy") == 0


def test_when_the_hook_is_sourced_twice_expect_each_path_once(tmp_path):
    from mend import write_hooks

    (tmp_path / "lib").mkdir()
    write_hooks(tmp_path)
    source = f"source {tmp_path}/local_setup.bash"
    script = f"{source}; {source}; echo $AMENT_PREFIX_PATH $LD_LIBRARY_PATH"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env={})
    assert result.stdout.split() == [str(tmp_path), str(tmp_path / "lib")]


def test_when_an_input_changes_expect_the_stamp_to_be_old(tmp_path):
    from shell import digest, is_stamped, write_stamp

    lock, stamp = tmp_path / "a.lock", tmp_path / "stamps" / "a"
    lock.write_text("one")
    assert not is_stamped(stamp, digest([lock]))
    write_stamp(stamp, digest([lock]))
    assert is_stamped(stamp, digest([lock]))
    lock.write_text("two")
    assert not is_stamped(stamp, digest([lock]))


def test_when_an_unknown_distribution_is_sourced_expect_it_refused_by_name(monkeypatch):
    from shell import SetupError
    from system import sourced_ros

    monkeypatch.setenv("ROS_DISTRO", "noetic")
    with pytest.raises(SetupError, match="'noetic' is sourced"):
        sourced_ros()
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert sourced_ros() == "jazzy"
    monkeypatch.delenv("ROS_DISTRO")
    assert sourced_ros() is None


def test_when_not_root_and_something_is_missing_expect_the_exact_line(monkeypatch):
    import system
    from shell import SetupError

    monkeypatch.setattr(system, "missing_packages", lambda _: ["libegl1"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError, match="apt-get install -y --no-install-recommends libegl1"):
        system.install_system_packages("python3")


def test_when_nothing_extra_is_asked_for_expect_the_bench_left_out_and_with_it_installed_last(monkeypatch):
    setup = runpy.run_path(str(ROOT / "tools" / "setup" / "__main__.py"))
    installed = []

    class Recorder:
        prefix = None

        def __init__(self, *_):
            pass

        def install_lock(self, name):
            installed.append(name)

        def install_torch(self):
            installed.append("torch")

        def __getattr__(self, _):
            return lambda *_: None

    prepare = setup["prepare"]
    replaced = {"Environment": Recorder, "sourced_ros": lambda: None, "find_python": lambda: "python3"}
    replaced |= {"install_system_packages": lambda _: None, "build_workspace": lambda *_, **__: None}
    for name, value in replaced.items():
        monkeypatch.setitem(prepare.__globals__, name, value)
    prepare(force_build=False, extras=[])
    assert installed == ["python", "torch", "ros"]
    prepare(force_build=False, extras=["bench"])
    assert installed[3:] == ["python", "torch", "ros", "bench"]
    prepare(force_build=False, extras=[], torch=False)
    assert installed[7:] == ["python", "ros"]


def test_when_the_bench_is_installed_expect_it_to_change_no_version_of_the_rest():
    locked = {
        name: {
            line.split("==")[0]
            for line in (ROOT / "requirements" / f"{name}.lock").read_text().splitlines()
            if "==" in line
        }
        for name in ("python", "ros", "bench", "docs", "interop")
    }
    assert "stable-baselines3" in locked["bench"] and "mkdocs" in locked["docs"] and "rosbags" in locked["interop"]
    for extra in ("bench", "docs", "interop"):
        assert not locked[extra] & (locked["python"] | locked["ros"] | {"torch"}), extra


def test_when_a_package_has_gone_or_is_python_expect_only_what_is_compiled_to_stay_built(tmp_path):
    from build import remove_python_packages

    for name, source in (("compiled", "CMakeLists.txt"), ("python", "setup.py"), ("gone", None)):
        for folder in ("build", "install"):
            (tmp_path / folder / name / "bin").mkdir(parents=True)
        if source is not None:
            (tmp_path / "src" / name).mkdir(parents=True)
            (tmp_path / "src" / name / source).touch()
    (tmp_path / "install" / "setup.bash").touch()
    remove_python_packages(tmp_path)
    assert [p.name for p in sorted((tmp_path / "install").iterdir())] == ["compiled", "setup.bash"]
    assert [p.name for p in (tmp_path / "build").iterdir()] == ["compiled"]
