# In Warp, int(0) declares a variable and 0 a constant:
# ruff: noqa: UP018, RUF046
# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""Warp kernels of the distance grid; all of them go over the nodes of a lattice within the grid.

A lattice of ``step`` s holds the nodes whose three indices are multiples of s. Vectors are in mm,
relative to the centre of the mesh. ``sign`` is 1 outside, -1 inside, 0 not known yet.
"""

import warp as wp

wp.set_module_options({"enable_backward": False, "max_unroll": 0})


@wp.func
def node_of(t: int, step: int, lattice: wp.vec3i):
    i = t // (lattice[1] * lattice[2])
    j = (t // lattice[2]) % lattice[1]
    return wp.vec3i(i, j, t % lattice[2]) * step


@wp.func
def position_of(node: wp.vec3i, origin: wp.vec3, spacing: float):
    return origin + spacing * wp.vec3(float(node[0]), float(node[1]), float(node[2]))


@wp.func
def inside_grid(node: wp.vec3i, values: wp.array3d(dtype=float)):
    return (
        node[0] >= 0
        and node[1] >= 0
        and node[2] >= 0
        and node[0] < values.shape[0]
        and node[1] < values.shape[1]
        and node[2] < values.shape[2]
    )


@wp.func
def closest_distance(mesh: wp.uint64, p: wp.vec3, bound: float):
    query = wp.mesh_query_point_no_sign(mesh, p, bound)
    if query.result:
        return wp.length(p - wp.mesh_eval_position(mesh, query.face, query.u, query.v))
    return bound


@wp.kernel(enable_backward=False)
def measure(
    mesh: wp.uint64,
    origin: wp.vec3,
    spacing: float,
    step: int,
    lattice: wp.vec3i,
    distance: wp.array3d(dtype=float),
):
    """Exact distance at every node of the lattice."""
    node = node_of(wp.tid(), step, lattice)
    distance[node[0], node[1], node[2]] = closest_distance(
        mesh, position_of(node, origin, spacing), 1.0e6
    )


@wp.kernel(enable_backward=False)
def refine(
    mesh: wp.uint64,
    origin: wp.vec3,
    spacing: float,
    step: int,
    lattice: wp.vec3i,
    exact_below: float,
    distance: wp.array3d(dtype=float),
):
    """Distance at the nodes of the lattice that the lattice of twice the step lacks.

    Near the surface it is exact. Farther off it is the mean over the surrounding nodes, less the
    most by which that mean can exceed the distance: the second derivative of a distance d along
    any line is at most 1 / d and the three sum to at most 2 / d, so linear interpolation over
    2 s is too large by no more than (2 s)^2 / 8 * 2 / d.
    """
    node = node_of(wp.tid(), step, lattice)
    low = wp.vec3i(
        node[0] // (2 * step) * (2 * step),
        node[1] // (2 * step) * (2 * step),
        node[2] // (2 * step) * (2 * step),
    )
    if node == low:
        return
    high = node + (node - low)
    smallest = float(1.0e6)
    total = float(0.0)
    for corner in range(8):
        x = wp.where(corner // 4 == 0, low[0], high[0])
        y = wp.where((corner // 2) % 2 == 0, low[1], high[1])
        z = wp.where(corner % 2 == 0, low[2], high[2])
        smallest = wp.min(smallest, distance[x, y, z])
        total = total + distance[x, y, z]
    gap = float(step) * spacing
    least = smallest - 1.7320508 * gap
    if least > exact_below:
        distance[node[0], node[1], node[2]] = wp.max(total / 8.0 - gap * gap / least, least)
    else:
        distance[node[0], node[1], node[2]] = closest_distance(
            mesh, position_of(node, origin, spacing), smallest + 1.7320508 * gap + 0.01
        )


@wp.kernel(enable_backward=False)
def ask_sign(
    mesh: wp.uint64,
    origin: wp.vec3,
    spacing: float,
    step: int,
    lattice: wp.vec3i,
    distance: wp.array3d(dtype=float),
    sign: wp.array3d(dtype=wp.int8),
):
    """Sign by the winding number where it is not known yet."""
    node = node_of(wp.tid(), step, lattice)
    i, j, k = node[0], node[1], node[2]
    if sign[i, j, k] == wp.int8(0):
        # Far off, where the distance may be a lower bound, the margin of one cell covers it.
        bound = 1.05 * distance[i, j, k] + spacing
        query = wp.mesh_query_point_sign_winding_number(
            mesh, position_of(node, origin, spacing), bound, 2.0, 0.5
        )
        if not query.result:
            query = wp.mesh_query_point_sign_winding_number(
                mesh, position_of(node, origin, spacing), 1.0e6, 2.0, 0.5
            )
        if query.result and query.sign < 0.0:
            sign[i, j, k] = wp.int8(-1)
        else:
            sign[i, j, k] = wp.int8(1)


@wp.kernel(enable_backward=False)
def inherit_sign(
    spacing: float,
    step: int,
    lattice: wp.vec3i,
    distance: wp.array3d(dtype=float),
    known: wp.array3d(dtype=wp.int8),
    sign: wp.array3d(dtype=wp.int8),
):
    """Take the sign of the neighbours on the lattice that no surface can part from the node.

    If either of two nodes is farther from the surface than from the other, the segment between
    them does not cross the surface. If such neighbours disagree (which happens in a hole, where
    the winding number passes one half away from any surface), the sign stays unknown.
    """
    node = node_of(wp.tid(), step, lattice)
    i, j, k = node[0], node[1], node[2]
    own = known[i, j, k]
    plus = int(0)
    minus = int(0)
    if own == wp.int8(0):
        here = distance[i, j, k]
        for n in range(27):
            shift = wp.vec3i(n // 9 - 1, (n // 3) % 3 - 1, n % 3 - 1)
            other = node + shift * step
            if inside_grid(other, distance):
                side = int(known[other[0], other[1], other[2]])
                if side != 0:
                    gap = float(step) * spacing * wp.sqrt(float(wp.dot(shift, shift)))
                    if wp.max(here, distance[other[0], other[1], other[2]]) > gap * 1.0001:
                        plus = plus + wp.where(side > 0, 1, 0)
                        minus = minus + wp.where(side < 0, 1, 0)
        if plus > 0 and minus == 0:
            own = wp.int8(1)
        if minus > 0 and plus == 0:
            own = wp.int8(-1)
    sign[i, j, k] = own
