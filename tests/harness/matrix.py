# SPDX-License-Identifier: Apache-2.0
"""The rows in words, and which tests stand for them."""

from __future__ import annotations

from dataclasses import dataclass

_PROCESS = "tests/process/test_rows.py"


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        number: As everywhere in this project.
        fault: What happens.
        promise: What the stack does then.
        tests: Files that try it.
    """

    number: str
    fault: str
    promise: str
    tests: tuple[str, ...] = (_PROCESS,)


ROWS = (
    Row(
        "1",
        "`kill -9` of the policy mid-chunk",
        "the chunk in hand plays for at most `chunk_open_loop_s`, then a hold ramp; after `chunk_timeout_s` STOPPED "
        "with POLICY_LOST; a restart moves nothing",
    ),
    Row(
        "2",
        "`kill -9` of the learner while it learns",
        "the arm plays on; started again, the learner becomes bit for bit what it would have been",
        (
            _PROCESS,
            "tests/node/rl_learner/test_learner_node.py",
        ),
    ),
    Row(
        "5",
        "`kill -9` of the simulator",
        "the arm stops for want of joint states, the episode is aborted with a reason, nothing half is recorded",
    ),
    Row(
        "6",
        "`kill -9` of one of two cameras, later a restart",
        "hold within `obs_max_age_s` and the chunk in hand; the reason names the stream; back to READY only",
    ),
    Row(
        "8",
        "SIGSTOP of policy, arm node, drives in turn, then SIGCONT",
        "as a kill, within the same time; what is stale on waking is discarded",
    ),
    Row(
        "9",
        "an exception in any callback or thread",
        "caught at the border of the node: safe action, ERROR, a counter, one traceback",
        (_PROCESS, "tests/node/whetstone_common/test_node.py", "tests/node/robot_bringup/test_arm_node.py"),
    ),
    Row(
        "10",
        "SIGINT or SIGTERM, and a second signal at once",
        "held by a ramp first, everything flushed, exit code 0 within 10 s; the second signal does not cut it short",
    ),
    Row(
        "13",
        "stamps 1 s old, 1 h ahead, zero",
        "refused, counted, no inference; hold after the chunk in hand",
        (_PROCESS, "tests/node/vla_policy/test_observation_node.py", "tests/unit/vla_policy/test_freshness.py"),
    ),
    Row(
        "14",
        "a source that repeats itself under fresh stamps",
        "noticed after 5 images, or 0.5 s of joints under a moving command; hold",
        (_PROCESS, "tests/node/vla_policy/test_observation_node.py", "tests/unit/robot_bringup/test_watchdog.py"),
    ),
    Row(
        "15",
        "30, 70, 100 % of the frames lost, a burst, one camera 200 ms behind",
        "judged by age and skew, never by count; parts of two moments are never put together",
        (_PROCESS, "tests/unit/vla_policy/test_synchroniser.py"),
    ),
    Row(
        "16",
        "images of wrong encoding, size, step or length",
        "refused by their header before a pixel is touched; no crash, no leap of memory",
        (_PROCESS, "tests/node/vla_policy/test_observation_node.py", "tests/unit/vla_policy/test_images.py"),
    ),
    Row(
        "17",
        "joint states with NaN, holes, extra joints, another order",
        "mapped by name; incomplete or not finite is refused",
        (
            _PROCESS,
            "tests/node/vla_policy/test_observation_node.py",
            "tests/node/robot_bringup/test_arm_node.py",
            "tests/unit/whetstone_common/test_robot_joints.py",
            "tests/unit/vla_policy/test_joints.py",
        ),
    ),
    Row(
        "18",
        "simulated clock stops, jumps ahead, jumps back, runs fast and slow",
        "watchdogs run on the steady clock; a jump back ends the episode with CLOCK_JUMP",
        (_PROCESS, "tests/unit/harness/test_static_time.py"),
    ),
    Row(
        "19",
        "NaN, Inf, 1e38 in one element of a chunk",
        "the whole chunk is refused; nothing is clamped to something from NaN",
        (_PROCESS, "tests/node/robot_bringup/test_arm_node.py", "tests/unit/robot_bringup/test_arm.py"),
    ),
    Row(
        "20",
        "steps that are too big, out of range, or first after a reset",
        "a small excess is clamped and counted, a large one refused; limits hold for what is sent",
        (_PROCESS, "tests/unit/robot_bringup/test_safety.py"),
    ),
    Row(
        "21",
        "a policy with other joints, dimensions or normalisation",
        "refused before arming, and per message; the refusal names the field",
        (_PROCESS, "tests/node/robot_bringup/test_arm_node.py", "tests/unit/whetstone_common/test_contract.py"),
    ),
    Row(
        "22",
        "chunks doubled, late, swapped, of an older episode or epoch",
        "only the answer to the last request plays, once; late steps are skipped, never squeezed",
        (_PROCESS, "tests/unit/robot_bringup/test_chunk_queue.py"),
    ),
    Row(
        "23",
        "inference of 0.5, 1 and 3 chunks, and a stall of 2 s",
        "no gap below one chunk; above it a ramp and UNDERRUN, and a fresh start afterwards",
    ),
    Row("25", "a second node that sends valid chunks", "refused and reported by name; the first goes on"),
    Row(
        "27",
        "weights cut at any byte, a piece missing, pieces in another order",
        "refused, or waited for; the old weights go on without a gap, and a second try works",
        (_PROCESS, "tests/unit/vla_policy/test_weights.py", "tests/node/vla_policy/test_steering_weights.py"),
    ),
    Row(
        "28",
        "a flipped bit in data, header or manifest of weights",
        "refused by the SHA-256 or by the field that disagrees",
        (_PROCESS, "tests/unit/vla_policy/test_weights.py", "tests/node/vla_policy/test_steering_weights.py"),
    ),
    Row(
        "29",
        "weights of another architecture, shape, type, contract, method or run, older, not finite, or that misbehave",
        "refused with the reason, at the latest on trial; each chunk is of one version; only a person goes back",
        (_PROCESS, "tests/unit/vla_policy/test_learned.py", "tests/node/vla_policy/test_steering_weights.py"),
    ),
    Row(
        "30",
        "a pickle in place of weights, checkpoint, transition, spool or method file",
        "never run: nothing in the product can unpickle",
        (_PROCESS, "tests/unit/vla_policy/test_weights.py", "tests/unit/rl_learner/test_poison.py"),
    ),
    Row(
        "31",
        "a second publisher of weights, replayed, unsigned, or signed with another key",
        "refused and reported; the first goes on, and a learner that replaces a dead one is followed",
        (_PROCESS, "tests/unit/vla_policy/test_weights.py", "tests/node/vla_policy/test_steering_weights.py"),
    ),
    Row(
        "32",
        "checkpoints at the start: empty, half written, damaged, all of them",
        "the newest whole one is used and the others are named; when none is whole the learner refuses to start",
        (
            _PROCESS,
            "tests/node/rl_learner/test_learner_node.py",
            "tests/unit/rl_learner/test_checkpoint.py",
        ),
    ),
    Row(
        "33",
        "`kill -9` in a checkpoint, at each file operation",
        "the one before is whole; what is left over counts for nothing and is removed",
        (
            "tests/unit/rl_learner/test_checkpoint.py",
            "tests/unit/rl_learner/test_versions.py",
        ),
    ),
    Row(
        "34",
        "memory runs out in an update",
        "the step is left out and the batch halved once, then learning ends while serving goes on",
        ("tests/unit/rl_learner/test_session.py",),
    ),
    Row(
        "35",
        "updates that diverge: losses or gradients not finite, a norm times 1000, rewards not finite",
        "the step changes nothing; three in a row end learning and publishing; such a reward never enters the replay",
        (
            _PROCESS,
            "tests/node/rl_learner/test_learner_node.py",
            "tests/unit/rl_learner/test_guard.py",
            "tests/unit/rl_learner/test_session.py",
        ),
    ),
    Row(
        "36",
        "a robot without a learner, for long",
        "the spool grows to its bound, then the oldest go and are counted; who comes late learns how many",
        (
            _PROCESS,
            "tests/process/test_transitions.py",
        ),
    ),
    Row(
        "37",
        "a learner slower than the robot",
        "never more updates than were paid for, never further behind than the band; the rest waits in the spool",
        (
            _PROCESS,
            "tests/unit/rl_learner/test_session.py",
        ),
    ),
    Row(
        "38",
        "restarts of learner and robot, in every order",
        "every transition is stored and learnt from exactly once",
        (
            _PROCESS,
            "tests/process/test_transitions.py",
            "tests/unit/experience/test_ledger.py",
        ),
    ),
    Row(
        "41",
        "`kill -9` of the whole run, again and again, and a resume",
        "equal to an unbroken run by hash: networks, replay, next batch; other settings are refused by name",
        (
            _PROCESS,
            "tests/node/rl_learner/test_learner_node.py",
            "tests/unit/rl_learner/test_session.py",
        ),
    ),
    Row(
        "43",
        "moved by 0.3 rad while stopped; paused while lagging",
        "after a reset the target is where the arm is now; a pause never steps back",
        (_PROCESS, "tests/unit/robot_bringup/test_hold.py"),
    ),
    Row(
        "44",
        "emergency stop: idle, mid-chunk, during inference, under a flood of chunks, twice",
        "latched; at most 50 ms to the last motion command; only release and reset lead back",
    ),
    Row(
        "45",
        "a person takes over during an inference",
        "wins within a period; the chunk under way is dropped; on release the policy starts from a fresh observation",
    ),
    Row(
        "46",
        "teleoperation killed, hung, or with a stuck axis while engaged",
        "hold with TAKEOVER_LOST; the policy does not take over",
        (_PROCESS, "tests/unit/robot_bringup/test_takeover.py"),
    ),
    Row(
        "47",
        "parameters out of range, NaN, of another type, unknown, or changed while armed",
        "refused with name, value and range; as a set or not at all",
        (
            "tests/node/test_parameter_schemas.py",
            "tests/node/whetstone_common/test_node.py",
            "tests/unit/whetstone_common/test_parameters.py",
        ),
    ),
    Row(
        "60",
        "the terminal of a launch is closed, or nothing can be printed: broken or stalled pipe, full disk",
        "every signal still ends everything: held by a ramp, no process left after 3 s",
        (_PROCESS, "tests/unit/robot_bringup/test_launch_runner_processes.py"),
    ),
    Row(
        "61",
        "`kill -9` of the launch or of the command that runs it",
        "what it has started ends with it: held by a ramp, no process left after 3 s",
        (_PROCESS, "tests/unit/robot_bringup/test_launch_runner_processes.py"),
    ),
    Row(
        "62",
        "SIGINT, SIGTERM or SIGHUP while a node imports, reads weights, exports or warms up, or hangs in a callback",
        "gone within 2 s, exit code 0",
        (_PROCESS, "tests/unit/whetstone_common/test_stopping.py"),
    ),
    Row(
        "75",
        "a node of the ring holds: before an episode, from its first step to its last, for most of it, or for long",
        "such an episode is aborted, not counted and not learnt from; the reason names each node that held and why",
        (_PROCESS, "tests/unit/robot_operation/test_holding.py", "tests/node/robot_operation/test_episode_node.py"),
    ),
    Row(
        "76",
        "an instruction that is empty, too long, not one line of text, or that the model cannot take whole",
        "refused where it is given; nobody goes on with older words, and nothing moves",
        (
            _PROCESS,
            "tests/unit/whetstone_common/test_instruction.py",
            "tests/node/robot_operation/test_episode_node.py",
            "tests/node/vla_policy/test_observation_node.py",
            "tests/node/vla_policy/test_vla_node.py",
        ),
    ),
    Row(
        "77",
        "other words in the middle of an episode, by the service or by another publisher",
        "the service refuses; another publisher's words abort the episode, and all publishers are named",
        (_PROCESS, "tests/node/robot_operation/test_episode_node.py"),
    ),
    Row(
        "80",
        "a dataset with joints in degrees, or the gripper from 0 to 100",
        "every value is compared with the robot file; refused with episode, frame, joint, value and limits; a mapping "
        "file converts",
        (
            _PROCESS,
            "tests/unit/experience/test_lerobot_joints.py",
            "tests/unit/whetstone_common/test_joint_range.py",
        ),
    ),
    Row(
        "81",
        "a dataset with joints in another order, or under other names",
        "refused with both lists of names; a mapping file gives the order",
        (_PROCESS, "tests/unit/experience/test_lerobot_joints.py"),
    ),
    Row(
        "82",
        "a video of another rate, with a picture lost, late, or of another size",
        "pictures are found by their time stamps, within a tenth of a frame; refused with camera, episode, frame, time",
        (_PROCESS, "tests/unit/experience/test_lerobot_files.py"),
    ),
    Row(
        "83",
        "an empty dataset, a dataset that nobody drove, two cameras on one topic, statistics of another length",
        "refused by who writes and by who reads",
        (
            _PROCESS,
            "tests/unit/experience/test_lerobot_files.py",
            "tests/unit/experience/test_prior.py",
            "tests/unit/experience/test_lerobot_export.py",
            "tests/unit/whetstone_common/test_robot.py",
            "tests/unit/vla_policy/test_normalise.py",
        ),
    ),
    Row(
        "85",
        "joint states in parts: a gripper with a driver of its own, which dies",
        "merged by name, each joint with its own age; the arm stops and the silent joints are named",
        (
            _PROCESS,
            "tests/node/robot_bringup/test_arm_node.py",
            "tests/node/vla_policy/test_observation_node.py",
            "tests/unit/robot_bringup/test_arm_joints.py",
            "tests/unit/whetstone_common/test_robot_joints.py",
            "tests/unit/vla_policy/test_joints.py",
        ),
    ),
    Row(
        "86",
        "a second driver of the same joints or the same camera",
        "refused; while both speak the arm stops or is not armed, and both are named",
        (
            _PROCESS,
            "tests/node/robot_bringup/test_arm_node.py",
            "tests/node/vla_policy/test_observation_node.py",
            "tests/unit/whetstone_common/test_sources.py",
        ),
    ),
    Row(
        "87",
        "a takeover device that says inf, NaN, 50, 1e9, another mode, another time, an older sequence",
        "refused and counted; the policy goes on or, if it drove, the person is lost; no jump; a release always counts",
        (
            _PROCESS,
            "tests/unit/robot_bringup/test_takeover.py",
            "tests/unit/robot_bringup/test_arm_people.py",
            "tests/node/robot_bringup/test_arm_convert.py",
        ),
    ),
    Row(
        "88",
        "a takeover device that has let go and is gone",
        "makes room for another one after `takeover_forget_s`; one that vanished while it drove keeps its place",
        (_PROCESS, "tests/unit/robot_bringup/test_takeover.py", "tests/unit/robot_bringup/test_arm_people.py"),
    ),
    Row(
        "89",
        "stamps of another clock, no stamps, `use_sim_time` without `/clock`",
        "refused; hold, and no arming; the clock is named with what to do",
        (
            _PROCESS,
            "tests/node/vla_policy/test_observation_node.py",
            "tests/node/robot_bringup/test_arm_node.py",
            "tests/unit/robot_bringup/test_arm_joints.py",
            "tests/unit/whetstone_common/test_clock.py",
        ),
    ),
    Row(
        "50",
        "e-stop published volatile, best effort, or with another type",
        "every std_msgs/Bool publisher stops the arm within 50 ms; one of another type refuses arming, with its name",
        (_PROCESS, "tests/node/robot_bringup/test_arm_node.py"),
    ),
    Row(
        "51",
        "two e-stop sources: one presses, the other says false, or the pressing one vanishes",
        "only the source that presses releases; a vanished one stays pressed until a reset",
        (_PROCESS, "tests/unit/robot_bringup/test_estop.py", "tests/node/robot_bringup/test_arm_node.py"),
    ),
    Row(
        "52",
        "another node publishes on the controller's command topic",
        "arming refused, a running episode stopped within a second, SECOND_COMMANDER with the other's name",
        (_PROCESS, "tests/node/robot_bringup/test_arm_node.py"),
    ),
    Row(
        "53",
        "a second stack is started in the same ROS domain",
        "its nodes refuse to start and name host, process and start; the first moves on",
        (_PROCESS, "tests/process/test_main.py"),
    ),
    Row(
        "54",
        "the operator's device that was asked for is missing, or is lost in an episode",
        "no episode begins, or the arm is held; OPERATOR_LOST says which device",
        (
            _PROCESS,
            "tests/node/robot_operation/test_operator_node.py",
            "tests/node/robot_operation/test_episode_node.py",
        ),
    ),
    Row(
        "55",
        "the client of a goal is killed",
        "once the graph knows, the arm is held, the rest is cancelled and the next goal is taken",
        (_PROCESS, "tests/node/robot_operation/test_episode_node.py"),
    ),
    Row(
        "65",
        "the disk is full, or fills, while episodes are recorded or learnt from",
        "no episode begins, DISK_FULL with the figures; the command says how many were kept and ends with an error; "
        "with space again the next episode is recorded",
        (
            _PROCESS,
            "tests/node/experience/test_recorder_node.py",
            "tests/node/robot_operation/test_episode_node.py",
            "tests/unit/experience/test_recording.py",
            "tests/unit/whetstone_cli/test_cli_demos.py",
            "tests/unit/whetstone_cli/test_cli_train.py",
        ),
    ),
    Row(
        "66",
        "files of others where a command keeps its own",
        "they are not touched, counted or exported; what is made on the way has names that nobody else has",
        ("tests/unit/whetstone_cli/test_cli_demos.py", "tests/unit/whetstone_common/test_outputs.py"),
    ),
    Row(
        "67",
        "`kill -9` of the learner, as the operator of the run sees it",
        "its figures show their age, it is started again and catches up, and that is said; or the run ends with an "
        "error",
        (_PROCESS, "tests/unit/whetstone_cli/test_cli_train.py"),
    ),
    Row(
        "68",
        "`kill -9` of the policy or the end of the stack in an evaluation",
        "asked for, judged, aborted, not run, and why; the figures are written, and the end is an error",
        ("tests/unit/whetstone_cli/test_cli_eval.py",),
    ),
    Row(
        "69",
        "outputs that cannot be written, a start that is refused, a second training of a run",
        "tried before the work, written one by one; nothing is left that blocks the next start; refused with the "
        "process",
        (
            "tests/unit/whetstone_common/test_outputs.py",
            "tests/unit/whetstone_cli/test_cli_eval.py",
            "tests/unit/whetstone_cli/test_cli_train.py",
            "tests/unit/whetstone_cli/test_jobs.py",
        ),
    ),
    Row(
        "70",
        "records in the middle of the spool damaged, zeroed, or with a wrong length; its books damaged",
        "every other whole record is learnt from, no byte leaves the disk; how many were lost is said and known to the "
        "learner",
        (_PROCESS, "tests/unit/experience/test_spool_damage.py", "tests/node/rl_learner/test_learner_node.py"),
    ),
    Row(
        "71",
        "a computer whose clock went back, or was ahead, between two starts",
        "every episode is stored once, whatever the number of its arm; a whole one that is refused is booked and a "
        "HOLDING with EPISODE_REFUSED",
        (
            _PROCESS,
            "tests/unit/whetstone_common/test_epochs.py",
            "tests/unit/experience/test_join.py",
            "tests/unit/robot_bringup/test_takeover.py",
        ),
    ),
    Row(
        "72",
        "a recorder that has just started, or was started again",
        "no episode begins before it says that it hears everyone; what is never heard after that is booked as unseen",
        (
            _PROCESS,
            "tests/process/test_transitions.py",
            "tests/node/robot_operation/test_episode_node.py",
            "tests/unit/robot_operation/test_recorder_connection.py",
        ),
    ),
)
