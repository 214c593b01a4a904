# SPDX-License-Identifier: Apache-2.0
# Source me (bash): activates .venv, the ROS wheels if they are used, and the built workspace.
# What colcon and ament generate reads unset variables; a caller with `set -u` gets that option back below.
case $- in *u*) _wst_nounset=1; set +u ;; *) _wst_nounset=0 ;; esac
_wst_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck disable=SC1091
source "${_wst_root}/.venv/bin/activate"
if [ -f "${_wst_root}/.venv/local_setup.bash" ]; then
  # shellcheck disable=SC1091
  source "${_wst_root}/.venv/local_setup.bash"
fi
if [ -f "${_wst_root}/ros2_ws/install/setup.bash" ]; then
  # shellcheck disable=SC1091
  source "${_wst_root}/ros2_ws/install/setup.bash"
fi
# MUJOCO_GL is left alone: sim_bridge chooses what this machine can draw with, unless the caller has.
export WHETSTONE_ROOT="${_wst_root}"
if [ "${_wst_nounset}" = 1 ]; then set -u; fi
unset _wst_root _wst_nounset
