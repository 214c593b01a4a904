# SPDX-License-Identifier: Apache-2.0
"""`RemoteBackend` against a real policy server, which packs with openpi's own package."""

import ssl
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import yaml
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from fakes.policy_server import PolicyServer, mapping_text, still, write_mapping
from harness.published import JOINTS
from harness.until import until
from rl_methods.common.checkpoint_error import CheckpointError
from vla_policy.core.backends.remote import RemoteBackend
from vla_policy.core.model_swap import probe_observation, tried
from vla_policy.core.protocol import BackendError, UnavailableError
from vla_policy.core.published.report_lines import RobotNames
from vla_policy.core.remote.address import AddressError, api_key, checked_address
from vla_policy.core.remote.report import inspect_server
from vla_policy.core.serving import checked_chunks, draw_noise
from vla_policy.nodes.backends import build_backend
from whetstone_common.core.reason import Reason

ROBOT = RobotNames(JOINTS, ("front", "wrist"))


@contextmanager
def serving(policy=None, metadata=None, **options):
    server = PolicyServer(policy or still(), metadata, **options)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def connected(server, folder, text=None, **options):
    path = folder / "mapping.yaml"
    path.write_text(text or mapping_text(), encoding="utf-8")
    backend = RemoteBackend.load(
        server.address, mapping=str(path), joint_names=JOINTS, **{"start_s": 10.0, "deadline_s": 5.0} | options
    )
    try:
        yield backend
    finally:
        backend.close()


def refuse(server, folder, kind, text, *, mapping=None, **options):
    """A server that must not be served; returns why."""
    with pytest.raises(kind, match=text) as raised, connected(server, folder, mapping, **{"start_s": 1.0} | options):
        pass
    return str(raised.value)


def chunks(backend, n=1, observation=None):
    context = backend.prefix(observation or probe_observation(backend.spec))
    return checked_chunks(backend, context, draw_noise(n, backend.spec, 0, 0))


def drawn(seed=0, horizon=16, dims=7):
    """A policy that draws anew each time."""
    rng = np.random.default_rng(seed)
    return lambda _observation: {"actions": rng.standard_normal((horizon, dims)).astype(np.float32)}


# ---- what is sent and what comes back --------------------------------------------------------------------------------


def test_when_openpis_own_client_asks_our_test_server_expect_what_it_documents():
    with serving(metadata={"reset_pose": [0.0, 1.0]}) as server:
        client = WebsocketClientPolicy(server.address)
        assert client.get_server_metadata() == {"reset_pose": [0.0, 1.0]}
        answer = client.infer({"state": np.zeros(10, np.float32), "prompt": "do nothing"})
        assert answer["actions"].shape == (16, 7) and answer["server_timing"]["infer_ms"] >= 0.0


def test_when_asked_expect_openpis_names_and_types_on_the_wire_and_physical_units_back(tmp_path):
    with serving() as server, connected(server, tmp_path) as backend:
        spec = backend.spec
        assert (spec.horizon, spec.action_dim, spec.feature_dim, spec.takes_noise) == (16, 7, 0, False)
        assert spec.cameras == ("front", "wrist") and spec.action_space == "cartesian" and spec.dt_s == 0.05
        assert tried(backend, probe_observation(spec)).shape == (0,)
        out = chunks(backend)
        np.testing.assert_allclose(spec.denormalise(out)[0, :, -1], 0.5)
        sent = server.observations[-1]
        assert set(sent) == {"front", "wrist", "state", "prompt"} and sent["prompt"] == "do nothing"
        assert sent["front"].shape == (96, 96, 3) and sent["front"].dtype == np.uint8
        assert sent["state"].shape == (10,) and sent["state"].dtype == np.float32
        assert backend.figures()["server_s"] >= 0.0 < backend.figures()["round_trip_s"]


def test_when_the_mapping_names_joints_in_degrees_expect_the_models_units_order_and_keys(tmp_path):
    state = [{"name": name, "unit": "deg"} for name in JOINTS[:7]] + [{"name": JOINTS[7], "unit": "percent"}]
    mapping = {
        "action_space": "joint", "actions": "absolute", "dt_s": 0.1, "horizon": 4,
        "cameras": {"images/high": "front", "images/hand": None},
        "server": {"state": {"joint_position": 7, "gripper_position": 1}, "image_layout": "chw", "nested": True,
                   "image_size_px": 32, "prompt": "task/words"},
        "state": state, "action": [*state[1:7], state[0], state[7], {}],
    }  # fmt: skip
    answer = np.tile([20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 10.0, 25.0, 9.0], (6, 1))
    with (
        serving(lambda _: {"actions": answer}) as server,
        connected(server, tmp_path, yaml.safe_dump(mapping, sort_keys=False)) as b,
    ):
        observation = probe_observation(b.spec)
        proprio = np.deg2rad(np.arange(8.0)).astype(np.float32)
        proprio[7] = 0.5
        out = b.spec.denormalise(chunks(b, observation=type(observation)(observation.images, proprio, "lift")))
        assert out.shape == (1, 4, 8)
        # relative to the state but for the gripper, which the model counts in percent
        np.testing.assert_allclose(np.rad2deg(out[0, 0, :7]), np.arange(10.0, 80.0, 10.0) - np.arange(7.0), atol=1e-4)
        np.testing.assert_allclose(out[0, :, 7], 0.25, atol=1e-6)
        sent = server.observations[-1]
        assert sent["images"]["high"].shape == (3, 32, 32) and list(sent["images"]) == ["high"]
        np.testing.assert_allclose(sent["joint_position"], np.arange(7.0), atol=1e-4)
        np.testing.assert_allclose(sent["gripper_position"], [50.0], atol=1e-4)
        assert sent["task"] == {"words": "lift"}


def test_when_several_candidates_are_wanted_expect_a_request_for_each(tmp_path):
    with serving(drawn()) as server, connected(server, tmp_path) as backend:
        before = len(server.observations)
        out = chunks(backend, 3)
        assert len(server.observations) == before + 3 and len({chunk.tobytes() for chunk in out}) == 3


# ---- answers that must not be played ---------------------------------------------------------------------------------


BAD = {
    "nan": (lambda a: {"actions": np.where(np.arange(7) == 3, np.nan, a)}, "not finite"),
    "infinite": (lambda a: {"actions": np.where(np.arange(7) == 3, np.inf, a)}, "not finite"),
    "large": (lambda a: {"actions": np.full(a.shape, 1e300)}, "32-bit"),
    "other dims": (lambda a: {"actions": a[:, :6]}, r"shape \(16, 6\)"),
    "other horizon": (lambda a: {"actions": a[:15]}, r"shape \(15, 7\)"),
    "one step": (lambda a: {"actions": a[0]}, r"shape \(7,\)"),
    "empty": (lambda a: {"actions": a[:0]}, r"shape \(0, 7\)"),
    "words": (lambda a: {"actions": a.astype("U8")}, "expected an array of numbers"),
    "a list": (lambda a: {"actions": a.tolist()}, "actions are list"),
    "no actions": (lambda _: {"chunk": 1}, "actions are NoneType"),
    "no map": (lambda _: b"\x01", "expected a map"),
    "no msgpack": (lambda _: b"\xc1", "no msgpack"),
    "objects": (
        lambda _: b"\x81\xa7actions\x84\xc4\x0b__ndarray__\xc3\xc4\x04data\xc4\x08" + b"\0" * 8
        + b"\xc4\x05dtype\xa2|O\xc4\x05shape\x91\x01",
        "only numbers and text",
    ),
    "a traceback": (lambda _: "Traceback ...\n  line\nKeyError: 'prompt'\n", "error in the server: KeyError: 'prompt'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_when_an_answer_cannot_be_played_expect_it_refused_with_the_reason_and_the_next_one_played(name, tmp_path):
    good = still()
    with serving() as server, connected(server, tmp_path) as backend:
        spoil, text = BAD[name]
        server.policy = lambda seen: spoil(good(seen)["actions"])
        with pytest.raises(BackendError, match=text):
            chunks(backend)
        server.policy = good
        until(lambda: backend.outage() is None, 10.0, "a connection")
        assert chunks(backend).shape == (1, 16, 7)


def test_when_the_policy_raises_as_openpi_does_expect_its_error_in_words_and_a_new_connection(tmp_path):
    def broken(_observation):
        raise KeyError("observation/image")

    with serving() as server, connected(server, tmp_path) as backend:
        server.policy = broken
        with pytest.raises(BackendError, match="error in the server: KeyError: 'observation/image'"):
            chunks(backend)
        server.policy = still()
        until(lambda: backend.figures()["server_connections"] == 2 and backend.outage() is None, 10.0, "a connection")
        assert chunks(backend).shape == (1, 16, 7)


def test_when_an_answer_is_larger_than_any_chunk_expect_the_connection_given_up(tmp_path):
    with serving() as server, connected(server, tmp_path) as backend:
        server.policy = lambda _: b"\0" * (17 << 20)
        with pytest.raises(UnavailableError, match="connection lost"):
            chunks(backend)


# ---- servers that are slow, gone, or another -------------------------------------------------------------------------


def test_when_an_answer_is_late_expect_the_deadline_and_never_the_old_answer_for_a_new_request(tmp_path):
    count, go_on = iter(range(100)), threading.Event()
    go_on.set()

    def numbered(_observation):
        number = next(count)
        go_on.wait(10.0)
        return {"actions": np.full((16, 7), float(number))}

    with serving(numbered) as server, connected(server, tmp_path, deadline_s=1.0) as backend:
        go_on.clear()
        with pytest.raises(UnavailableError, match="no answer within 1000 ms"):
            chunks(backend)
        assert backend.outage() is not None
        go_on.set()
        until(lambda: backend.outage() is None, 10.0, "a connection")
        assert chunks(backend)[0, 0, 0] == next(count) - 1


def test_when_the_server_ends_and_comes_back_expect_chunks_again(tmp_path):
    with serving(metadata={"model": "one"}) as server, connected(server, tmp_path) as backend:
        server.close()
        until(lambda: backend.outage() is not None, 10.0, "the loss noticed without a request")
        with pytest.raises(UnavailableError) as raised:
            chunks(backend)
        assert raised.value.reason is Reason.MODEL_FAILURE and server.address in raised.value.detail
        with serving(metadata={"model": "one"}, port=server.port):
            until(lambda: backend.outage() is None, 20.0, "a connection")
            assert chunks(backend).shape == (1, 16, 7)


def test_when_another_model_comes_back_expect_its_chunks_refused_until_the_first_is_there_again(tmp_path):
    one, other = ({"model": np.array([1.0, value])} for value in (1.0, 2.0))
    with serving(metadata=one) as server, connected(server, tmp_path) as backend:
        server.close()
        with serving(metadata=other, port=server.port):
            until(lambda: (backend.outage() or (None,))[0] is Reason.CONTRACT_MISMATCH, 20.0, "the refusal")
            with pytest.raises(UnavailableError, match="another model"):
                chunks(backend)
        with serving(metadata=one, port=server.port):
            until(lambda: backend.outage() is None, 20.0, "a connection")
            assert chunks(backend).shape == (1, 16, 7)


@pytest.mark.parametrize("metadata", ["hello", b"\x01", b"\xc1"])
def test_when_something_else_listens_there_expect_that_said(metadata, tmp_path):
    with serving(metadata=metadata) as server:
        refuse(server, tmp_path, UnavailableError, "metadata|no msgpack")


def test_when_nobody_listens_expect_the_wait_to_end_with_the_reason(tmp_path):
    server = PolicyServer(still())
    server.close()
    with (
        pytest.raises(UnavailableError, match="connection refused.*waited 0.5 s"),
        connected(server, tmp_path, start_s=0.5),
    ):
        pass


def test_when_the_server_is_waited_for_expect_its_address_in_what_is_done_and_no_model_loaded(tmp_path):
    steps = []
    with serving() as server:
        parameters = {
            "backend": "remote", "remote": server.address, "model_mapping": str(write_mapping(tmp_path)),
            "remote_api_key_file": "", "remote_deadline_ms": 5000, "remote_start_timeout_s": 10.0,
        }  # fmt: skip
        build_backend(parameters.__getitem__, steps.append, JOINTS).close()
    assert steps == [f"waiting for the policy server at {server.address}"]


# ---- keys, addresses, mappings ---------------------------------------------------------------------------------------


def test_when_a_key_is_asked_for_expect_openpis_header_and_otherwise_the_refusal(tmp_path):
    with serving(key="a-secret") as server:
        with connected(server, tmp_path, key="a-secret") as backend:
            assert chunks(backend).shape == (1, 16, 7)
        assert "wrong" not in refuse(server, tmp_path, UnavailableError, "HTTP 401", key="wrong")


def test_when_the_server_speaks_tls_expect_it_served_with_a_certificate_that_is_trusted_alone(tmp_path, monkeypatch):
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *words.split(), "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with serving(ssl=context) as server:
        assert server.address.startswith("wss://")
        refuse(server, tmp_path, UnavailableError, "certificate verify failed")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        with connected(server, tmp_path) as backend:
            assert chunks(backend).shape == (1, 16, 7)


def test_when_a_key_is_in_a_file_or_in_the_environment_expect_it_and_never_in_an_error(tmp_path):
    file = tmp_path / "key"
    file.write_text("a-secret\n")
    assert api_key(str(file), {}) == api_key("", {"WHETSTONE_REMOTE_API_KEY": "a-secret"}) == "a-secret"
    assert api_key("", {}) == ""
    for bad in ("a secret", "a-secret\r\nHost: other", "s\u00e4cret", ""):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(AddressError, match="one word") as raised:
            api_key(str(file), {})
        assert not bad or bad not in str(raised.value)
    with pytest.raises(AddressError, match="No such file"):
        api_key(str(tmp_path / "none"), {})


@pytest.mark.parametrize(
    "address", ["", "gpu-box:8000", "http://gpu-box:8000", "ws://", "ws://gpu-box:99999", "ws://gpu-box:0"]
)
def test_when_an_address_cannot_be_used_expect_it_named(address):
    with pytest.raises(AddressError, match=r"remote = .*ws://HOST:PORT|range"):
        checked_address(address)


@pytest.mark.parametrize(
    "address", ["ws://me:" + "s3cret@gpu-box:8000", "wss://gpu-box/?key=s3cret", "ws://gpu-box#s3cret"]
)
def test_when_an_address_holds_a_secret_expect_it_refused_and_not_repeated(address):
    with pytest.raises(AddressError, match="WHETSTONE_REMOTE_API_KEY") as raised:
        checked_address(address)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("state: {state: 10}", "state: {state: 9}"), "parts have 9 numbers, state has 10"),
        (("state: {state: 10}", "state: {front: 10}"), "key 'front' stands for two things"),
        (("tcp_x_m", "elbow"), "no 'elbow'"),
        (("  - {name: dx_m", "  - {}\n  - {name: dx_m"), "8 dimensions are mapped, the model has 7"),
        (("dt_s: 0.05", "dt_s: 0.05\nhorizon: 17"), "17 steps are wanted, the server's chunks have 16"),
        (("image_size_px: 96", "image_size_px: 96, layout: hwc"), "layout"),
    ],
)  # fmt: skip
def test_when_mapping_and_server_do_not_fit_expect_the_key_named(change, text, tmp_path):
    with serving() as server:
        refuse(server, tmp_path, CheckpointError, text, mapping=mapping_text().replace(*change))


# ---- the report ------------------------------------------------------------------------------------------------------


def test_when_a_server_is_inspected_expect_its_metadata_what_it_answers_and_whether_it_fits(tmp_path):
    with serving(drawn(), metadata={"model": "one"}) as server:
        report = inspect_server(server.address, ROBOT, str(write_mapping(tmp_path)), start_s=10.0)
    found = {line.field: line.text for line in report.lines}
    assert report.can_be_served and not report.template
    assert found["metadata"] == "{'model': 'one'}" and "16 steps of 7 numbers" in found["answer"]
    assert "differ" in found["candidates"] and "refused" in found["features"] and "chunks of 16" in found["mapping"]


def test_when_nothing_is_mapped_expect_a_file_to_fill_in_and_a_camera_that_the_robot_lacks_named(tmp_path):
    with serving() as server:
        report = inspect_server(server.address, ROBOT, start_s=10.0)
        assert not report.can_be_served
        assert yaml.safe_load(report.template)["cameras"] == {
            "observation/image": "front",
            "observation/wrist_image": "wrist",
        }
        lacking = inspect_server(
            server.address, RobotNames(JOINTS, ("front",)), str(write_mapping(tmp_path)), start_s=10.0
        )
    assert any("no 'wrist'" in line.text for line in lacking.lines if not line.is_ok)
    gone = inspect_server(server.address, ROBOT, start_s=0.3)
    assert any("connection refused" in line.text for line in gone.lines if not line.is_ok)
