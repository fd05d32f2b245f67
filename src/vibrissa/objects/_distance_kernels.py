# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false, reportArgumentType=false
# pyright: reportInvalidTypeForm=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportReturnType=false
"""Warp kernels of the distance grid: one thread fills one block of 4 x 4 x 4 nodes.

A block first asks the mesh for the distance of its centre. Every triangle that can be the closest
one of a node lies within that distance plus twice the block's half diagonal; those triangles are
listed once and shared by the 64 nodes, and narrowed once more for each 2 x 2 x 2 corner of the
block. Blocks with too many such triangles (far from the surface) ask the mesh node by node. All
distances are exact to float32 rounding.

Vectors are in mm, relative to the centre of the mesh.
"""

import warp as wp

_level = wp.config.log_level
wp.config.log_level = wp.LOG_ERROR  # no greeting, no word about absent GPUs
wp.init()
wp.config.log_level = _level
wp.set_module_options({"enable_backward": False, "fast_math": False, "max_unroll": 0})

SLACK_MM = wp.constant(1.0e-4)
SIGN_ACCURACY = wp.constant(2.0)
SIGN_THRESHOLD = wp.constant(0.5)


@wp.func
def triangle_distance(p: wp.vec3, a: wp.vec3, b: wp.vec3, c: wp.vec3):
    """Distance from a point to a triangle (Ericson 2004, Real-Time Collision Detection, 5.1.5)."""
    ab = b - a
    ac = c - a
    ap = p - a
    d1 = wp.dot(ab, ap)
    d2 = wp.dot(ac, ap)
    if d1 <= 0.0 and d2 <= 0.0:
        return wp.length(ap)
    bp = p - b
    d3 = wp.dot(ab, bp)
    d4 = wp.dot(ac, bp)
    if d3 >= 0.0 and d4 <= d3:
        return wp.length(bp)
    vc = d1 * d4 - d3 * d2
    if vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        return wp.length(ap - (d1 / (d1 - d3)) * ab)
    cp = p - c
    d5 = wp.dot(ab, cp)
    d6 = wp.dot(ac, cp)
    if d6 >= 0.0 and d5 <= d6:
        return wp.length(cp)
    vb = d5 * d2 - d1 * d6
    if vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        return wp.length(ap - (d2 / (d2 - d6)) * ac)
    va = d3 * d6 - d5 * d4
    if va <= 0.0 and d4 >= d3 and d5 >= d6:
        return wp.length(bp - ((d4 - d3) / ((d4 - d3) + (d5 - d6))) * (c - b))
    # Inside the prism over the face; the normal is steadier than barycentric coordinates.
    n = wp.cross(ab, ac)
    return wp.abs(wp.dot(ap, n)) / wp.length(n)


@wp.func
def winding_sign(mesh: wp.uint64, p: wp.vec3, distance_mm: float):
    query = wp.mesh_query_point_sign_winding_number(
        mesh, p, distance_mm * 1.001 + 0.01, SIGN_ACCURACY, SIGN_THRESHOLD
    )
    if query.result and query.sign < 0.0:
        return -1.0
    return 1.0


@wp.kernel(enable_backward=False)
def query_centres(
    mesh: wp.uint64,
    origin: wp.vec3,
    spacing: float,
    blocks_y: int,
    blocks_z: int,
    with_sign: int,
    distance: wp.array(dtype=float),
    sign: wp.array(dtype=float),
):
    t = wp.tid()
    i = t // (blocks_y * blocks_z)
    j = (t // blocks_z) % blocks_y
    k = t % blocks_z
    p = origin + spacing * (4.0 * wp.vec3(float(i), float(j), float(k)) + wp.vec3(1.5, 1.5, 1.5))
    d = float(1.0e6)
    query = wp.mesh_query_point_no_sign(mesh, p, 1.0e6)
    if query.result:
        d = wp.length(p - wp.mesh_eval_position(mesh, query.face, query.u, query.v))
    distance[t] = d
    if with_sign == 1:
        sign[t] = winding_sign(mesh, p, d)
    else:
        sign[t] = 1.0


@wp.kernel(enable_backward=False)
def fill_blocks(
    mesh: wp.uint64,
    corners: wp.array2d(dtype=wp.vec3),
    origin: wp.vec3,
    spacing: float,
    nodes_x: int,
    nodes_y: int,
    nodes_z: int,
    blocks_y: int,
    blocks_z: int,
    start: int,
    list_below: float,
    sign_rule: wp.array(dtype=int),
    centre_distance: wp.array(dtype=float),
    centre_sign: wp.array(dtype=float),
    face_list: wp.array2d(dtype=int),
    face_distance: wp.array2d(dtype=float),
    near_list: wp.array2d(dtype=int),
    near_distance: wp.array2d(dtype=float),
    values: wp.array3d(dtype=float),
):
    """``sign_rule`` per block: 0 the sign of its centre, 1 by corner, 2 node by node."""
    t = wp.tid()
    block = start + t
    bi = 4 * (block // (blocks_y * blocks_z))
    bj = 4 * ((block // blocks_z) % blocks_y)
    bk = 4 * (block % blocks_z)
    capacity = face_list.shape[1]
    corner = origin + spacing * wp.vec3(float(bi), float(bj), float(bk))
    centre = corner + spacing * wp.vec3(1.5, 1.5, 1.5)
    half_diagonal = 1.5 * 1.7320508 * spacing
    sub_half_diagonal = 0.5 * 1.7320508 * spacing
    rule = sign_rule[block]
    reach = centre_distance[block] + 2.0 * half_diagonal + SLACK_MM

    listed = int(capacity + 1)
    if centre_distance[block] <= list_below:
        listed = int(0)
        box = wp.vec3(reach, reach, reach)
        boxed = wp.mesh_query_aabb(mesh, centre - box, centre + box)
        face = int(0)
        while wp.mesh_query_aabb_next(boxed, face):
            d = triangle_distance(centre, corners[face, 0], corners[face, 1], corners[face, 2])
            if d <= reach:
                if listed < capacity:
                    face_list[t, listed] = face
                    face_distance[t, listed] = d
                listed = listed + 1

    for sub in range(8):
        si = bi + 2 * (sub // 4)
        sj = bj + 2 * ((sub // 2) % 2)
        sk = bk + 2 * (sub % 2)
        near = int(0)
        sub_best = float(1.0e6)
        sub_centre = origin + spacing * (
            wp.vec3(float(si), float(sj), float(sk)) + wp.vec3(0.5, 0.5, 0.5)
        )
        if listed <= capacity:
            shift = wp.length(sub_centre - centre)
            sub_best = reach
            for n in range(listed):
                if face_distance[t, n] - shift <= sub_best + 2.0 * sub_half_diagonal + SLACK_MM:
                    f = face_list[t, n]
                    d = triangle_distance(sub_centre, corners[f, 0], corners[f, 1], corners[f, 2])
                    if d <= sub_best + 2.0 * sub_half_diagonal + SLACK_MM:
                        near_list[t, near] = f
                        near_distance[t, near] = d
                        near = near + 1
                        sub_best = wp.min(sub_best, d)
        side = centre_sign[block]
        each = int(rule == 2)
        if rule == 1:
            if sub_best < 1.0e5 and sub_best > sub_half_diagonal + SLACK_MM:
                side = winding_sign(mesh, sub_centre, sub_best)
            else:
                each = int(1)
        for node in range(8):
            i = si + node // 4
            j = sj + (node // 2) % 2
            k = sk + node % 2
            if i < nodes_x and j < nodes_y and k < nodes_z:
                p = origin + spacing * wp.vec3(float(i), float(j), float(k))
                best = float(1.0e6)
                if listed <= capacity:
                    shift = wp.length(p - sub_centre)
                    best = sub_best + shift + SLACK_MM
                    for n in range(near):
                        if near_distance[t, n] - shift < best:
                            f = near_list[t, n]
                            best = wp.min(
                                best,
                                triangle_distance(p, corners[f, 0], corners[f, 1], corners[f, 2]),
                            )
                else:
                    bound = centre_distance[block] + half_diagonal + SLACK_MM
                    query = wp.mesh_query_point_no_sign(mesh, p, bound)
                    if query.result:
                        best = wp.length(
                            p - wp.mesh_eval_position(mesh, query.face, query.u, query.v)
                        )
                    else:
                        best = bound
                if each == 1:
                    side = winding_sign(mesh, p, best)
                values[i, j, k] = side * best
