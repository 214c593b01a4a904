# SPDX-License-Identifier: Apache-2.0
"""Cause and cure of each reason, for the troubleshooting page and for whoever shows a status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from whetstone_common.core.reason import Reason


@dataclass(frozen=True)
class Remedy:
    """What lies behind a reason, and what to do about it.

    Attributes:
        cause: What has happened.
        cure: What the operator does; empty only where nothing has to be done.
    """

    cause: str
    cure: str


_ARM = "`whetstone reset`, then `whetstone arm`"

REMEDIES: Mapping[Reason, Remedy] = MappingProxyType(
    {
        Reason.NONE: Remedy("Nothing is wrong.", "Nothing to do."),
        Reason.DISARMED: Remedy(
            "The arm may not move: nobody has armed it, or it was disarmed.",
            "Run `whetstone arm`. If it is refused, the answer names what is missing.",
        ),
        Reason.ESTOP: Remedy(
            "A publisher on `/estop` has pressed the emergency stop, or has vanished while it was pressed.",
            f"Remove the danger. Release the stop at the source that the detail names. Then {_ARM}.",
        ),
        Reason.POLICY_LOST: Remedy(
            "No action chunk arrived within `chunk_timeout_s` of arm_node.",
            "Look at `whetstone status`: the node of the policy that is not READY says why. Where the policy is "
            "only slow, "
            f"raise `chunk_timeout_s`. Then {_ARM}.",
        ),
        Reason.UNDERRUN: Remedy(
            "The chunk has ended and the next one is not there yet. The arm holds and goes on by itself.",
            "If it happens often, use `execution:=async`, fewer candidates or a faster model. "
            "The page on performance shows the time of each stage.",
        ),
        Reason.STALE_OBSERVATION: Remedy(
            "Images, joint states or a chunk are older than allowed, too far apart in time, or from the future.",
            "Compare the stamps of the stream in the detail with the node's clock. Synchronise the clocks of both"
            " machines (NTP or PTP). "
            "Raise the limit of the stream's age only if the camera is that slow.",
        ),
        Reason.FROZEN_SOURCE: Remedy(
            "A stream still arrives, but its content has not changed: the same image, or joints that ignore the "
            "command.",
            "Restart the driver of the stream in the detail. For joints: check that the controller is active and "
            "follows the command topic.",
        ),
        Reason.MISSING_STREAM: Remedy(
            "A topic that the node needs has sent nothing.",
            "Start the driver. Compare the topic in the detail with the robot file. Check `ROS_DOMAIN_ID` and the"
            " namespace of both sides.",
        ),
        Reason.BAD_MESSAGE: Remedy(
            "A message was refused: wrong size, encoding, names, or a value outside its range. The detail names it.",
            "Correct the publisher that the detail names, or the topic's entry in the robot file.",
        ),
        Reason.NOT_FINITE: Remedy(
            "A message, or a loss of the learner, holds NaN or infinity.",
            "In a stream: correct its publisher. In learner_node: the run has diverged; start again with a lower "
            "learning rate. Checkpoints before that remain.",
        ),
        Reason.LIMIT_EXCEEDED: Remedy(
            "Several commands in a row were beyond the limits of the robot file, or no motion within the limits "
            "exists.",
            "Bring the arm back into its workspace by a takeover or by the robot's own means. Check limits and "
            "workspace box in the robot file. "
            f"Then {_ARM}.",
        ),
        Reason.CONTRACT_MISMATCH: Remedy(
            "Two nodes disagree on cameras, joints, action dimensions, rate or normalisation. The detail names "
            "the field.",
            "Start all nodes with the same robot file and the same model directory. A learner's run can only go "
            "on with the model that it began with.",
        ),
        Reason.SECOND_SOURCE: Remedy(
            "Two publishers send the same stream (joints, camera, takeover, chunks or weights).",
            "Stop one of the two that the detail names, or give each robot a namespace of its own.",
        ),
        Reason.TAKEOVER_LOST: Remedy(
            "The operator's device went silent during a takeover. The arm stands.",
            f"Engage again with the same device to go on, or let go and run {_ARM}.",
        ),
        Reason.TAKEOVER: Remedy(
            "An operator drives the arm.", "Nothing to do. Release the clutch to give control back."
        ),
        Reason.CLOCK_JUMP: Remedy(
            "ROS time or the stamps of a stream went back.",
            f"Find what set the clock: NTP, a restarted simulator, or a looped bag. Then {_ARM}.",
        ),
        Reason.CALLBACK_EXCEPTION: Remedy(
            "A programming error: an exception reached the boundary of the node.",
            "The node's log has the traceback (`out/*.log` or the terminal). Restart the node, and report the "
            "traceback.",
        ),
        Reason.MODEL_FAILURE: Remedy(
            "The model could not be loaded, computed, or ran out of memory; or the policy server of `backend:=remote` "
            "does not answer.",
            "Read the detail: it names the file and key, the memory, or the server. Check `model_dir` and `backend`; "
            "`whetstone doctor` checks the machine. A server that comes back is used again without a restart.",
        ),
        Reason.EPISODE_END: Remedy(
            "The episode is over and the arm holds.", "Nothing to do: the next episode resumes it."
        ),
        Reason.SHUTDOWN: Remedy("The node was deactivated or has ended.", "Nothing to do, or start it again."),
        Reason.BAD_PARAMETER: Remedy(
            "A parameter or a file that it names cannot be accepted. The node does not start.",
            "The detail gives name, value and what is allowed. `whetstone param describe NODE NAME` and the "
            "parameter reference say the same.",
        ),
        Reason.JOINT_STATE_LOST: Remedy(
            "The joint states were there and have stopped, all or those of the joints in the detail.",
            f"Restart the driver; check the cable and the controller's own error state. Then {_ARM}.",
        ),
        Reason.DEADLINE_MISSED: Remedy(
            "arm_node sent no command for longer than allowed: the machine is overloaded.",
            "Run fewer processes on the robot's computer, move the policy to another machine, or lower "
            "`command_rate_hz`.",
        ),
        Reason.DISK_FULL: Remedy(
            "There is too little space, or the folder cannot be written.",
            "Free space or correct the rights of the folder in the detail. The node goes on by itself.",
        ),
        Reason.SPOOL_FULL: Remedy(
            "The spool has reached its bound because no learner takes its transitions.",
            "Start learner_node with the same `run` and `run_dir`, or raise the bound of transition_node.",
        ),
        Reason.SECOND_COMMANDER: Remedy(
            "Another node publishes on the controller's command topic.",
            f"Stop the node that the detail names (MoveIt, a teleoperation node, a second stack). Then {_ARM}.",
        ),
        Reason.INCOMPATIBLE_PUBLISHER: Remedy(
            "A publisher of an input cannot be heard: its QoS or message type does not fit.",
            "Change the publisher to the QoS or type that the detail names.",
        ),
        Reason.OPERATOR_LOST: Remedy(
            "The operator's device that was asked for is not there or has gone.",
            "Plug in the joystick, or start the stack in a terminal (keyboard). `operator:=none` runs without one.",
        ),
        Reason.SECOND_NODE: Remedy(
            "Another process runs a node of the same name in this ROS domain.",
            "Stop the process that the detail names, or use another `ROS_DOMAIN_ID` or `namespace`.",
        ),
        Reason.EPISODE_REFUSED: Remedy(
            "A whole episode came from an arm that transition_node does not follow. It was not stored.",
            "Run one arm_node per namespace, and restart transition_node after arm_node was replaced.",
        ),
        Reason.NO_CLOCK: Remedy(
            "`use_sim_time` is true and nobody publishes `/clock`.",
            "Start the simulator that publishes it, or set `use_sim_time:=false`.",
        ),
        Reason.OTHER_CLOCK: Remedy(
            "The stamps of a stream are of another clock than the node's: simulated against wall time, or zero.",
            "Set `use_sim_time` alike for driver and stack. A driver with zero stamps has to stamp its messages.",
        ),
        Reason.NO_WEIGHTS: Remedy(
            "The method plays nothing before its first weights, and none have come.",
            "Start learner_node with the same `run`, or wait: the learner publishes after its warm-up.",
        ),
        Reason.NO_CONTRACT: Remedy(
            "The node has not received the contract of a policy yet.",
            "Start vla_node, or wait until it has loaded its model: the contract is published after that.",
        ),
    }
)
