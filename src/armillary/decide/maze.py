"""A point robot in a walled square, and two mazes in which the straight way to the goal may be closed."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from armillary.decide.environment import Environment

CELLS = 20
ANGLES = 2 * np.pi * np.arange(8) / 8


class Maze(NamedTuple):
    """Walls on a grid over the unit square, x to the right and y up."""

    walls: Float[Array, "20 20"]
    """1 where a cell, [column, row], is wall."""
    ranges: Float[Array, "20 20 8"]
    """Distance from a cell's centre to the nearest wall in 8 directions, counterclockwise from the right."""
    start: Float[Array, "2"]
    goal: Float[Array, "2"]


def box_walls(kind: Literal["deep", "shallow"], lid: bool) -> Bool[np.ndarray, "20 20"]:
    """A box around the straight way up, inside the closed square.

    - `deep`: columns 3 and 16, a lid at row 16 and a floor at row 3 with an opening at columns 9 and 10; the
      start is inside, so that the way to a goal above the lid first leads away from it.
    - `shallow`: the lid at row 14 and no floor; the start is below the box, the goal above it.

    Without the `lid` the four cells in its middle are open.
    """
    walls = np.zeros((CELLS, CELLS), bool)
    walls[[0, -1]] = True
    walls[:, [0, -1]] = True
    top = 16 if kind == "deep" else 14
    walls[[3, 16], 3 : top + 1] = True
    walls[3:17, top] = True
    if kind == "deep":
        walls[3:17, 3] = True
        walls[9:11, 3] = False
    if not lid:
        walls[8:12, top] = False
    return walls


def box_maze(kind: Literal["deep", "shallow"], lid: bool = True) -> Maze:
    """The maze of `box_walls` with its start and its goal."""
    walls = box_walls(kind, lid)
    start, goal = ((0.5, 0.45), (0.5, 0.91)) if kind == "deep" else ((0.5, 0.12), (0.5, 0.88))
    return Maze(jnp.array(walls, float), jnp.array(_ranges(walls), float), jnp.array(start), jnp.array(goal))


def point_robot(maze: Maze, *, horizon: int = 150, stride: float = 0.03) -> Environment:
    """A point that moves at most `stride` along each axis in a step, and slides along walls.

    An action is two numbers in [-1, 1]; the state is the position, in widths of the square. Seen are the maze's 8
    range readings at the point's cell and the unit vector to the goal. The reward of a step is how much nearer
    the goal is than before, so that an episode's total is the distance gained.
    """

    def free(position: Array) -> Array:
        cell = jnp.clip((position * CELLS).astype(int), 0, CELLS - 1)
        return maze.walls[cell[0], cell[1]] < 0.5

    def step(position: Array, action: Array) -> tuple[Array, Array, Array]:
        move = stride * jnp.clip(action, -1.0, 1.0)
        across = position.at[0].add(move[0])
        after = jnp.where(free(across), across, position)
        up = after.at[1].add(move[1])
        after = jnp.where(free(up), up, after)
        nearer = jnp.linalg.norm(position - maze.goal) - jnp.linalg.norm(after - maze.goal)
        return after, nearer, jnp.array(False)

    def observe(position: Array) -> Float[Array, "10"]:
        cell = jnp.clip((position * CELLS).astype(int), 0, CELLS - 1)
        towards = maze.goal - position
        towards = towards / jnp.maximum(jnp.linalg.norm(towards), 1e-6)
        return jnp.concatenate([maze.ranges[cell[0], cell[1]], towards])

    def reset(key: Key[Array, ""]) -> Float[Array, "2"]:
        return maze.start

    return Environment(reset, step, observe, 10, 2, horizon, continuous=True, endless=True)


def _ranges(walls: Bool[np.ndarray, "20 20"]) -> Float[np.ndarray, "20 20 8"]:
    centres = (np.stack(np.meshgrid(*[np.arange(CELLS)] * 2, indexing="ij"), -1) + 0.5) / CELLS
    lengths = np.arange(0, 1.5, 1 / (20 * CELLS))
    rays = np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)
    points = centres[:, :, None, None] + lengths[:, None] * rays[:, None]
    cells = np.clip((points * CELLS).astype(int), 0, CELLS - 1)
    hit = walls[cells[..., 0], cells[..., 1]]
    return lengths[hit.argmax(-1)]
