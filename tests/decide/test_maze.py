"""The mazes by flood fill and by walking."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label

from armillary.decide import CELLS, box_maze, box_walls, episode, point_robot


def cell(position):
    return tuple((np.asarray(position) * CELLS).astype(int))


def test_the_goal_can_be_reached_but_greed_is_trapped_under_the_lid():
    closed, opened = box_maze("deep"), box_maze("deep", lid=False)
    regions = label(~box_walls("deep", True))[0]
    assert regions[cell(closed.start)] == regions[cell(closed.goal)] != 0
    walls = box_walls("deep", True)
    walls[9:11, 3] = True  # without the opening in the floor there is no way
    regions = label(~walls)[0]
    assert regions[cell(closed.start)] != regions[cell(closed.goal)]
    act = lambda seen: seen[8:10] / 0.7
    trapped = jax.jit(lambda maze: episode(point_robot(maze), act, jax.random.key(0)))
    found = trapped(closed)
    # The lid's underside is at 0.80 and the goal at 0.91; one step is 0.03.
    distance = np.linalg.norm(found.state - closed.goal)
    assert 0.11 <= distance < 0.14
    np.testing.assert_allclose(found.total, np.linalg.norm(closed.start - closed.goal) - distance, atol=1e-5)
    assert np.linalg.norm(trapped(opened).state - closed.goal) < 0.05


def test_in_the_shallow_maze_there_is_a_way_round():
    maze = box_maze("shallow")
    regions = label(~box_walls("shallow", True))[0]
    assert regions[cell(maze.start)] == regions[cell(maze.goal)] != 0


@pytest.mark.parametrize("kind", ["deep", "shallow"])
def test_the_robot_never_stands_in_a_wall_and_slides(kind):
    maze = box_maze(kind)
    robot = point_robot(maze)
    moves = jax.random.uniform(jax.random.key(1), (20, 400, 2), minval=-1.5, maxval=1.5)
    walk = jax.jit(
        jax.vmap(lambda m: jax.lax.scan(lambda p, a: (robot.step(p, a)[0],) * 2, maze.start, m)[1])
    )
    path = np.asarray(walk(moves))
    place = (path * CELLS).astype(int)
    assert not box_walls(kind, True)[place[..., 0], place[..., 1]].any()
    steps = np.abs(np.diff(path, axis=1))
    assert steps.max() <= 0.03 + 1e-6
    beside = robot.step(jnp.array([0.051, 0.5]), jnp.array([-1.0, 1.0]))[0]  # the left wall ends at 0.05
    np.testing.assert_allclose(beside, [0.051, 0.53], atol=1e-6)


def test_readings_are_distances_to_walls():
    ranges = np.asarray(box_maze("deep").ranges)
    # From cell (10, 10), centre 0.525: walls at columns 3 (right edge 0.20) and 16 (0.80), rows 3's opening at
    # columns 9 and 10 down to the outer wall (0.05), lid's underside at 0.80.
    np.testing.assert_allclose(ranges[10, 10][[0, 2, 4, 6]], [0.275, 0.275, 0.325, 0.475], atol=4e-3)
    np.testing.assert_allclose(ranges[10, 10][1], 0.275 * 2**0.5, atol=4e-3)
