"""CartPole, MountainCar, Acrobot and Pendulum, step for step as in Gymnasium's `classic_control`.

Sources: Barto, Sutton & Anderson, "Neuronlike adaptive elements that can solve difficult learning control
problems" (1983); Moore, "Efficient memory-based learning for robot control" (1990); Sutton, "Generalization in
reinforcement learning: successful examples using sparse coarse coding" (1996). Constants: Gymnasium (MIT).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from armillary.decide.environment import Environment

Four = Float[Array, "4"]


def cart_pole() -> Environment:
    """CartPole-v1: push the cart left (0) or right (1); 1 a step until the pole or the cart is out of bounds.

    The state is position (m), velocity (m/s), angle (rad), angular velocity (rad/s), and all of it is seen.
    At most 500 steps, which is also the best return.
    """
    gravity, cart, pole, half, force, tau = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02

    def step(state: Four, action: Int[Array, ""]) -> tuple[Four, Array, Array]:
        _, speed, angle, spin = state
        push = jnp.where(action == 1, force, -force)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        temp = (push + pole * half * spin**2 * sin) / (cart + pole)
        twist = (gravity * sin - cos * temp) / (half * (4 / 3 - pole * cos**2 / (cart + pole)))
        pull = temp - pole * half * twist * cos / (cart + pole)
        state = state + tau * jnp.stack([speed, pull, spin, twist])
        out = (jnp.abs(state[0]) > 2.4) | (jnp.abs(state[2]) > 12 * 2 * jnp.pi / 360)
        return state, jnp.ones(()), out

    return Environment(lambda key: _uniform(key, 0.05), step, lambda state: state, 4, 2, 500)


def mountain_car() -> Environment:
    """MountainCar-v0: drive left (0), not (1) or right (2); -1 a step until the car is at 0.5 on the right hill.

    The state is position and velocity (per step), and both are seen. At most 200 steps; the engine alone is too
    weak, so that the way up begins by driving away from the goal.
    """

    def step(state: Float[Array, "2"], action: Int[Array, ""]) -> tuple[Array, Array, Array]:
        position, velocity = state
        velocity = jnp.clip(velocity + (action - 1) * 0.001 - 0.0025 * jnp.cos(3 * position), -0.07, 0.07)
        position = jnp.clip(position + velocity, -1.2, 0.6)
        velocity = jnp.where((position == -1.2) & (velocity < 0), 0.0, velocity)
        return jnp.stack([position, velocity]), -jnp.ones(()), (position >= 0.5) & (velocity >= 0)

    def reset(key: Key[Array, ""]) -> Float[Array, "2"]:
        return jnp.stack([jax.random.uniform(key, minval=-0.6, maxval=-0.4), jnp.zeros(())])

    return Environment(reset, step, lambda state: state, 2, 3, 200)


def acrobot() -> Environment:
    """Acrobot-v1: torque -1, 0 or 1 (actions 0, 1, 2) between two links; -1 a step until the tip is up, then 0.

    The state is both angles (rad, the second relative to the first) and their velocities (rad/s); seen are the
    angles' cosines and sines and the velocities. "Up" is one link's length above the pivot. At most 500 steps.
    """
    gravity, com, step_length = 9.8, 0.5, 0.2
    # Both links are of mass, length and moment of inertia 1.

    def slope(state: Four, torque: Array) -> Four:
        first, second, spin1, spin2 = state
        d1 = com**2 + (1 + com**2 + 2 * com * jnp.cos(second)) + 2
        d2 = (com**2 + com * jnp.cos(second)) + 1
        phi2 = com * gravity * jnp.cos(first + second - jnp.pi / 2)
        phi1 = (
            -com * spin2**2 * jnp.sin(second)
            - 2 * com * spin2 * spin1 * jnp.sin(second)
            + (com + 1) * gravity * jnp.cos(first - jnp.pi / 2)
            + phi2
        )
        push2 = (torque + d2 / d1 * phi1 - com * spin1**2 * jnp.sin(second) - phi2) / (
            com**2 + 1 - d2**2 / d1
        )
        return jnp.stack([spin1, spin2, -(d2 * push2 + phi1) / d1, push2])

    def step(state: Four, action: Int[Array, ""]) -> tuple[Four, Array, Array]:
        torque = action - 1.0
        k1 = slope(state, torque)
        k2 = slope(state + step_length / 2 * k1, torque)
        k3 = slope(state + step_length / 2 * k2, torque)
        k4 = slope(state + step_length * k3, torque)
        state = state + step_length / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles = jnp.mod(state[:2] + jnp.pi, 2 * jnp.pi) - jnp.pi
        limit = jnp.array([4 * jnp.pi, 9 * jnp.pi])
        state = jnp.concatenate([angles, jnp.clip(state[2:], -limit, limit)])
        up = -jnp.cos(angles[0]) - jnp.cos(angles[0] + angles[1]) > 1
        return state, jnp.where(up, 0.0, -1.0), up

    def observe(state: Four) -> Float[Array, "6"]:
        cos, sin = jnp.cos(state[:2]), jnp.sin(state[:2])
        return jnp.concatenate([jnp.stack([cos[0], sin[0], cos[1], sin[1]]), state[2:]])

    return Environment(lambda key: _uniform(key, 0.1), step, observe, 6, 3, 500)


def pendulum() -> Environment:
    """Pendulum-v1: swing a pole up by its pivot and hold it there, with too weak a motor to lift it at once.

    The action is a share in [-1, 1] of the largest torque, 2 N·m; a step costs θ² + θ̇²/10 + torque²/1000, with the
    angle θ = 0 at the top. The state is θ (rad) and θ̇ (rad/s); seen are cos θ, sin θ and θ̇. Always 200 steps.
    """
    gravity, torque, tau = 10.0, 2.0, 0.05

    def step(state: Float[Array, "2"], action: Float[Array, "1"]) -> tuple[Array, Array, Array]:
        angle, spin = state
        push = torque * jnp.clip(action[0], -1.0, 1.0)
        from_top = jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi
        reward = -(from_top**2 + 0.1 * spin**2 + 0.001 * push**2)
        spin = jnp.clip(spin + tau * (1.5 * gravity * jnp.sin(angle) + 3 * push), -8.0, 8.0)
        return jnp.stack([angle + tau * spin, spin]), reward, jnp.array(False)

    def observe(state: Float[Array, "2"]) -> Float[Array, "3"]:
        return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])

    def reset(key: Key[Array, ""]) -> Float[Array, "2"]:
        return jax.random.uniform(key, (2,), minval=-1.0) * jnp.array([jnp.pi, 1.0])

    return Environment(reset, step, observe, 3, 1, 200, continuous=True, endless=True)


def _uniform(key: Key[Array, ""], limit: float) -> Four:
    return jax.random.uniform(key, (4,), minval=-limit, maxval=limit)
