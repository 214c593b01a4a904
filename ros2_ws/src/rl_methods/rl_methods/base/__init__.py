# SPDX-License-Identifier: Apache-2.0
"""The seam between the stack and its methods.

A method has an actor half (`Policy`, asked by steering_node at each decision) and a learner half: `Algorithm` for
online methods (trained by learner_node or in process), or `PostTraining` for methods that change the VLA itself.
"""

from rl_methods.base.algorithm import Algorithm
from rl_methods.base.arrays import FloatArray, ImageArray
from rl_methods.base.data_spec import IMAGES, OPTIONAL_DATA, PROPRIO, VLA_DATA, DataSpec
from rl_methods.base.decision import ChunkSource, PolicyInput, PolicyOutput, RuntimeConfig
from rl_methods.base.episodes import EpisodeLabels, Sample
from rl_methods.base.policy import LearnedPolicy, LoadedPolicy, NoisePolicy, Policy, ValidationContext
from rl_methods.base.post_training import PostTraining, Report, Select, VlaTrainer

__all__ = [
    "IMAGES",
    "OPTIONAL_DATA",
    "PROPRIO",
    "VLA_DATA",
    "Algorithm",
    "ChunkSource",
    "DataSpec",
    "EpisodeLabels",
    "FloatArray",
    "ImageArray",
    "LearnedPolicy",
    "LoadedPolicy",
    "NoisePolicy",
    "Policy",
    "PolicyInput",
    "PolicyOutput",
    "PostTraining",
    "Report",
    "RuntimeConfig",
    "Sample",
    "Select",
    "ValidationContext",
    "VlaTrainer",
]
