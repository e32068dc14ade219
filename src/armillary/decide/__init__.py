"""Environments, episodes in them, and learning from rewards."""

from armillary.decide.classic_control import acrobot, cart_pole, mountain_car, pendulum
from armillary.decide.curriculum import (
    curriculum,
    group_relative_gradient,
    neyman_allocation,
    posterior_spread,
)
from armillary.decide.environment import Environment, Episode, Trajectory, episode, trajectory
from armillary.decide.maze import CELLS, Maze, box_maze, box_walls, point_robot
from armillary.decide.novelty import Archive, empty_archive, novelty, remember
from armillary.decide.online import (
    follow_leader,
    follow_regularized_leader,
    past,
    project_simplex,
    regret,
    regret_loss,
)
from armillary.decide.policy_gradient import policy_gradient, returns_to_go

__all__ = [
    "CELLS",
    "Archive",
    "Environment",
    "Episode",
    "Maze",
    "Trajectory",
    "acrobot",
    "box_maze",
    "box_walls",
    "cart_pole",
    "curriculum",
    "empty_archive",
    "episode",
    "follow_leader",
    "follow_regularized_leader",
    "group_relative_gradient",
    "mountain_car",
    "neyman_allocation",
    "novelty",
    "past",
    "pendulum",
    "point_robot",
    "policy_gradient",
    "posterior_spread",
    "project_simplex",
    "regret",
    "regret_loss",
    "remember",
    "returns_to_go",
    "trajectory",
]
