# SPDX-License-Identifier: Apache-2.0
"""Decimated copies of the visual meshes. The cost of software OpenGL depends on triangles, not on pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sim_bridge.core.gl import mujoco

Vertices = npt.NDArray[np.float64]  # (V, 3) m
Faces = npt.NDArray[np.int32]  # (F, 3) indices of vertices

LIGHT_SUFFIX = "_light"


def cluster(vertices: Vertices, faces: Faces, cell_m: float) -> tuple[Vertices, Faces]:
    """Merge all vertices within a grid cell, and remove degenerate faces.

    Args:
        vertices: (V, 3) m.
        faces: (F, 3) vertex indices.
        cell_m: Edge of a grid cell.

    Returns:
        The merged vertices, each the mean of its cell, and the remaining faces, without duplicates.
    """
    cells = np.floor(vertices / cell_m).astype(np.int64)
    _, cell_of, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    cell_of = cell_of.reshape(-1)
    merged = np.zeros((len(count), 3))
    np.add.at(merged, cell_of, vertices)
    merged /= count[:, None]
    corners = cell_of[faces]
    a, b, c = corners.T
    corners = corners[(a != b) & (b != c) & (a != c)]
    _, first = np.unique(np.sort(corners, axis=1), axis=0, return_index=True)
    return merged, corners[np.sort(first)].astype(np.int32)


def lighten_visuals(spec: Any, visual_group: int, cell_m: float) -> None:
    """Replace the mesh of every visual geom of `spec` by a decimated copy; collision meshes do not change.

    Args:
        spec: The `mujoco.MjSpec` of a model, changed in place.
        visual_group: Group of the geoms that are drawn.
        cell_m: Edge of a clustering cell.
    """
    model = spec.compile()
    visuals = [geom for geom in spec.geoms if geom.meshname and geom.group == visual_group]
    collision = {geom.meshname for geom in spec.geoms if geom.meshname and geom.group != visual_group}
    for name in sorted({geom.meshname for geom in visuals}):
        vertices, faces = cluster(*_original_frame(model, name), cell_m)
        if len(faces) == 0:
            continue
        light = spec.add_mesh(name=name + LIGHT_SUFFIX)
        light.uservert, light.userface = vertices.reshape(-1), faces.reshape(-1)
        light.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        for geom in visuals:
            if geom.meshname == name:
                geom.meshname = name + LIGHT_SUFFIX
        if name not in collision:
            spec.delete(spec.mesh(name))


def _original_frame(model: Any, name: str) -> tuple[Vertices, Faces]:
    # The compiler centres and turns a mesh into its inertial frame; geom poses in the file are for the original.
    mesh = model.mesh(name).id
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    vertices = model.mesh_vert[first : first + count].astype(np.float64)
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[mesh])
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    faces = model.mesh_face[first : first + count].astype(np.int32)
    return vertices @ turn.reshape(3, 3).T + model.mesh_pos[mesh], faces
