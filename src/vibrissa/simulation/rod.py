"""From a whisker, a continuous rod, to a chain of rigid links joined by two-axis springs.

The rod is cut into elements; the bending compliance of each, ds / (E I), is lumped into one
joint. Two numbers are free per joint, its place and its compliance, and they are spent on the
second and third moments of compliance about the tip, the integrals of x^2 ds / (E I) and
x^3 ds / (E I) with x the distance from the tip. The second moment is the deflection of the tip
under a tip force (Euler-Bernoulli, unit-load theorem), so this is exact for any number of links;
what a force elsewhere does is second order in the element length, as are the natural
frequencies, with a far smaller constant than joints at element midpoints have. Elements are
shorter where the whisker is thinner. What lies between two joints is one rigid, straight link.

The rule ``published`` repeats the chain of the published simulator instead (equal links, joints
at their ends, the first link rigid, stiffness E I / L with L the length of the whole whisker).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import refuse
from vibrissa.morphology.whisker import Whisker, published_joint_angles_rad

Array = NDArray[np.float64]

LINKS_PER_MM = 0.7
MIN_LINKS = 12
MAX_LINKS = 200
TIP_GRADING = 0.4
"""Share of the links that is placed by thinness; the rest is placed evenly."""
PUBLISHED_LINKS_PER_MM = 1.0

_GAUSS_NODES, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(12)


@dataclass(frozen=True, kw_only=True)
class Rod:
    """One whisker as a chain of ``n`` moving links on a clamped stub; all arrays are ``(n,)``.

    Joint ``i`` carries link ``i``; joint 0 stands at the end of the clamped stub. Units: mm, g,
    s, rad, hence uN*mm/rad for stiffness and uN*mm*s/rad for damping.
    """

    name: str
    base_position_mm: Array
    base_rotation: Array
    stub_length_mm: float
    stub_mass_g: float
    stub_moment_g_mm: float
    """First mass moment of the clamped stub about the base, along its axis."""
    stub_inertia_g_mm2: float
    joint_arc_mm: Array
    link_length_mm: Array
    mass_g: Array
    moment_g_mm: Array
    """First mass moment about the joint, along the link."""
    inertia_g_mm2: Array
    """Transverse moment of inertia about the joint."""
    axial_inertia_g_mm2: Array
    stiffness_uN_mm: Array
    rest_angle_rad: Array
    """About the local z axis, negative for the natural curvature."""
    radius_start_mm: Array
    radius_end_mm: Array
    beam_stiffness_uN_per_mm: Array
    """Static stiffness of the rod against a transverse point force at the end of the link."""
    damping_ratio: float

    @property
    def n_links(self) -> int:
        return len(self.link_length_mm)

    def matrices(self) -> tuple[Array, Array]:
        """Mass ``(n, n)`` (g mm^2) and stiffness ``(n, n)`` (uN mm) of small planar vibration.

        The coordinates are the joint angles; the chain is taken as straight.
        """
        n = self.n_links
        start = np.concatenate([[0.0], np.cumsum(self.link_length_mm)[:-1]])
        # Lever of the centre of mass of link b about joint j <= b, plus the link's own inertia.
        centre = self.moment_g_mm / self.mass_g
        own = self.inertia_g_mm2 - self.mass_g * centre**2
        lever = np.tril((start + centre)[:, None] - start[None, :])
        reach = np.tril(np.ones((n, n)))
        mass = lever.T @ (self.mass_g[:, None] * lever) + reach.T @ (own[:, None] * reach)
        return mass, np.diag(self.stiffness_uN_mm)

    def angular_frequencies_rad_per_s(self, count: int = 3) -> Array:
        """The lowest natural angular frequencies of small planar vibration, ``(count,)``."""
        mass, _ = self.matrices()
        # With K diagonal, M u = mu K u becomes an ordinary symmetric problem.
        scale = 1.0 / np.sqrt(self.stiffness_uN_mm)
        values = np.linalg.eigvalsh(scale[:, None] * mass * scale[None, :])[::-1]
        return 1.0 / np.sqrt(values[:count])

    def damping_time_s(self) -> float:
        """Ratio of joint damping to joint stiffness that gives mode 1 its damping ratio."""
        return 2.0 * self.damping_ratio / float(self.angular_frequencies_rad_per_s(1)[0])

    def tip_compliance_mm_per_uN(self) -> float:
        """Deflection of the tip of the straight chain under a unit transverse force there."""
        tip = np.cumsum(self.link_length_mm)[-1]
        start = np.concatenate([[0.0], np.cumsum(self.link_length_mm)[:-1]])
        return float(np.sum((tip - start) ** 2 / self.stiffness_uN_mm))


def discretise(whisker: Whisker, *, links: int | None = None) -> Rod:
    """Cut a whisker into a chain by its own joint rule.

    Args:
        whisker: the continuous rod.
        links: number of moving links; by default ``max(12, 0.7 per mm)`` for the rule ``beam``,
            and one link per mm, the first of them rigid, for the rule ``published``.

    Raises:
        InputError: fewer than three links asked for.
    """
    if links is not None and links < 3:
        raise refuse("links", links, "a chain needs at least three links", "ask for three or more")
    if whisker.joint_rule == "published":
        return _published_chain(whisker, links)
    return _beam_chain(whisker, links or default_links(whisker))


def default_links(whisker: Whisker) -> int:
    """Number of moving links of the rule ``beam`` for this whisker.

    Raises:
        InputError: the whisker is so long that it would need more than ``MAX_LINKS``.
    """
    if LINKS_PER_MM * whisker.length_mm > MAX_LINKS:
        raise refuse(
            f"{whisker.name}: length_mm", whisker.length_mm,
            f"needs more than {MAX_LINKS} links", "check its unit, or set the number of links",
        )  # fmt: skip
    return max(MIN_LINKS, round(LINKS_PER_MM * whisker.length_mm))


def _element_edges(whisker: Whisker, n: int) -> Array:
    """Arc lengths ``(n + 1,)`` of the element ends, denser where the compliance is larger."""
    grid = np.linspace(0.0, whisker.length_mm, 4001)
    # Equal shares of the cube root of compliance minimise the lumping error of tip deflection.
    thinness = whisker.radius_mm(grid) ** (-4.0 / 3.0)
    density = TIP_GRADING * thinness / np.trapezoid(thinness, grid)
    density += (1.0 - TIP_GRADING) / whisker.length_mm
    share = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    edges = np.interp(np.linspace(0.0, share[-1], n + 1), share, grid)
    edges[-1] = whisker.length_mm
    return edges


def _quadrature(start: Array, end: Array) -> tuple[Array, Array]:
    """Gauss points and weights ``(m, 12)`` on each interval."""
    half = 0.5 * (end - start)
    points = 0.5 * (start + end)[:, None] + half[:, None] * _GAUSS_NODES
    return points, half[:, None] * _GAUSS_WEIGHTS


def _beam_chain(whisker: Whisker, n: int) -> Rod:
    edges = _element_edges(whisker, n)
    points, weights = _quadrature(edges[:-1], edges[1:])
    from_tip = whisker.length_mm - points
    second = weights * from_tip**2 / whisker.bending_stiffness_uN_mm2(points)
    lever = (second * from_tip).sum(axis=1) / second.sum(axis=1)
    compliance = second.sum(axis=1) / lever**2
    joints = whisker.length_mm - lever
    vertices = np.concatenate([[0.0], joints, [whisker.length_mm]])
    curve = whisker.centreline_mm(vertices)[:, :2]
    chords = np.diff(curve, axis=0)
    heading = np.unwrap(np.arctan2(chords[:, 1], chords[:, 0]))
    # The clamped stub lies on the local x axis, so the first joint also turns by the stub's own
    # heading; the base frame stays the tangent at the base.
    rest = np.diff(heading, prepend=0.0)[1:]
    rest[0] += heading[0]
    return _assemble(whisker, vertices, np.linalg.norm(chords, axis=1), 1.0 / compliance, rest)


def _published_chain(whisker: Whisker, links: int | None) -> Rod:
    angles = published_joint_angles_rad(whisker)
    n = len(angles)
    if links is not None and links != n - 1:
        raise refuse(
            f"{whisker.name}: links",
            links,
            f"the rule 'published' makes {n - 1} moving links here",
            "leave the number of links out, or choose the parameter set 'physical'",
        )
    vertices = np.linspace(0.0, whisker.length_mm, n + 1)
    stiffness = whisker.bending_stiffness_uN_mm2(vertices[1:-1]) / whisker.length_mm
    return _assemble(whisker, vertices, np.diff(vertices), stiffness, angles[1:])


def _assemble(
    whisker: Whisker,
    vertices: Array,
    chords_mm: Array,
    stiffness: Array,
    rest: Array,
) -> Rod:
    points, weights = _quadrature(vertices[:-1], vertices[1:])
    line_mass = weights * whisker.linear_density_g_per_mm(points)
    lever = points - vertices[:-1, None]
    radius = whisker.radius_mm(points)
    mass = line_mass.sum(axis=1)
    moment = (line_mass * lever).sum(axis=1)
    axial = 0.5 * (line_mass * radius**2).sum(axis=1)
    inertia = (line_mass * lever**2).sum(axis=1) + 0.5 * axial
    ends = vertices[1:]
    # Deflection at s under a unit force at s: the lumped form of the beam integral.
    reach = np.clip(ends[1:, None] - vertices[None, 1:-1], 0.0, None)
    beam_stiffness = 1.0 / np.sum(reach**2 / stiffness[None, :], axis=1)
    return Rod(
        name=whisker.name,
        base_position_mm=np.asarray(whisker.base_position_mm, dtype=np.float64),
        base_rotation=np.asarray(whisker.base_rotation, dtype=np.float64),
        stub_length_mm=float(chords_mm[0]),
        stub_mass_g=float(mass[0]),
        stub_moment_g_mm=float(moment[0]),
        stub_inertia_g_mm2=float(inertia[0]),
        joint_arc_mm=vertices[1:-1],
        link_length_mm=chords_mm[1:],
        mass_g=mass[1:],
        moment_g_mm=moment[1:],
        inertia_g_mm2=inertia[1:],
        axial_inertia_g_mm2=axial[1:],
        stiffness_uN_mm=stiffness,
        rest_angle_rad=rest,
        radius_start_mm=whisker.radius_mm(vertices[1:-1]),
        radius_end_mm=whisker.radius_mm(vertices[2:]),
        beam_stiffness_uN_per_mm=beam_stiffness,
        damping_ratio=whisker.damping_ratio,
    )
