# SPDX-License-Identifier: Apache-2.0
# Source me (bash): activates .venv, the ROS wheels if they are used, and the built workspace.
_wst_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck disable=SC1091
source "${_wst_root}/.venv/bin/activate"
if [ -d "${_wst_root}/.venv/share/rclpy" ]; then
  # The wheels find their shared libraries by restarting python with LD_LIBRARY_PATH set. Doing it here once
  # saves that second start in every process.
  _wst_libs="${_wst_root}/.venv/lib"
  for _wst_dir in "${_wst_root}"/.venv/lib/python3.*/site-packages/ros_*.libs; do
    [ -d "${_wst_dir}" ] && _wst_libs="${_wst_libs}:${_wst_dir}"
  done
  case ":${LD_LIBRARY_PATH:-}:" in
    *":${_wst_root}/.venv/lib:"*) ;;
    *) export LD_LIBRARY_PATH="${_wst_libs}${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}" ;;
  esac
  export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
  case ":${AMENT_PREFIX_PATH:-}:" in
    *":${_wst_root}/.venv:"*) ;;
    *) export AMENT_PREFIX_PATH="${_wst_root}/.venv${AMENT_PREFIX_PATH:+:${AMENT_PREFIX_PATH}}" ;;
  esac
fi
if [ -f "${_wst_root}/ros2_ws/install/setup.bash" ]; then
  # shellcheck disable=SC1091
  source "${_wst_root}/ros2_ws/install/setup.bash"
fi
# MuJoCo draws without a display unless the caller says otherwise.
export MUJOCO_GL="${MUJOCO_GL:-egl}"
export PYOPENGL_PLATFORM="${PYOPENGL_PLATFORM:-${MUJOCO_GL}}"
export WHETSTONE_ROOT="${_wst_root}"
unset _wst_root _wst_libs _wst_dir
