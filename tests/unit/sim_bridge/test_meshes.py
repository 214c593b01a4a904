# SPDX-License-Identifier: Apache-2.0
"""Clustering of meshes."""

from __future__ import annotations

import numpy as np

from sim_bridge.core.meshes import cluster


def grid(n: int) -> tuple[np.ndarray, np.ndarray]:
    """A flat square of 1 m with 2 n^2 triangles."""
    x, y = np.meshgrid(np.linspace(0.0, 1.0, n + 1), np.linspace(0.0, 1.0, n + 1))
    vertices = np.column_stack([x.ravel(), y.ravel(), np.zeros(x.size)])
    corner = np.arange(n * (n + 1)).reshape(n, n + 1)[:, :n].ravel()
    lower = np.column_stack([corner, corner + 1, corner + n + 1])
    upper = np.column_stack([corner + 1, corner + n + 2, corner + n + 1])
    return vertices, np.vstack([lower, upper]).astype(np.int32)


def test_when_a_fine_mesh_is_clustered_expect_far_fewer_faces_and_nearly_the_same_shape() -> None:
    vertices, faces = grid(50)
    light, light_faces = cluster(vertices, faces, 0.1)
    assert len(light_faces) < len(faces) / 10
    a, b, c = (light[light_faces[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert 0.75 < area <= 1.01


def test_when_clustered_expect_no_collapsed_and_no_repeated_face() -> None:
    _, faces = cluster(*grid(30), 0.15)
    assert all(len(set(face)) == 3 for face in faces.tolist())
    assert len({tuple(sorted(face)) for face in faces.tolist()}) == len(faces)


def test_when_cells_are_smaller_than_edges_expect_the_mesh_unchanged() -> None:
    vertices, faces = grid(3)
    light, light_faces = cluster(vertices, faces, 0.01)
    assert len(light) == len(vertices) and len(light_faces) == len(faces)
