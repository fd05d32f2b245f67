# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
"""The MuJoCo model of a whisker array and of objects in convex pieces.

Units inside are mm, mg and ms: force mN, moment mN mm, stiffness mN mm, damping mN mm ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vibrissa.core.errors import refuse, require_extra
from vibrissa.simulation._mujoco_pieces import Piece
from vibrissa.simulation.rod import Rod
from vibrissa.simulation.scene import SolverConfig

Array = NDArray[np.float64]

MG_PER_G = 1000.0
MN_PER_UN = 1e-3
IMPEDANCE = 0.99


@dataclass(frozen=True, kw_only=True)
class MujocoOptions:
    """What MuJoCo needs beyond :class:`SolverConfig`.

    Attributes:
        contact_time_s: time constant of the contact constraint; 0.1 to 0.3 ms give the same loads,
            1 ms is visibly soft.
        convex_threshold: concavity that CoACD leaves where no pieces are given.
        friction_stiffness: MuJoCo's ``impratio``: how much stiffer friction is than the normal
            constraint; more means less creep of sticking contacts.
        tolerance: of MuJoCo's constraint solver (relative; its default 1e-8).
        sleep: let whiskers that rest go to sleep; saves 15 to 30 %, the loads stay the same to
            about 1e-4 of their peak.
    """

    contact_time_s: float = 2e-4
    convex_threshold: float = 0.05
    friction_stiffness: float = 1.0
    tolerance: float = 1e-10
    sleep: bool = False

    def __post_init__(self) -> None:
        for name in ("contact_time_s", "friction_stiffness"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 < value < np.inf):
                raise refuse(name, value, "must be a positive finite number", "give one above 0")
        if not 0.0 <= self.tolerance < 1.0:
            raise refuse("tolerance", self.tolerance, "out of range", "give 0 to 1e-6")

    @classmethod
    def fastest(cls) -> MujocoOptions:
        """The cheapest settings that keep the moments right; for comparisons of speed."""
        return cls(sleep=True, tolerance=1e-8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """A MuJoCo model and where things stand in it.

    Attributes:
        model: the ``MjModel``; one mocap body per object slot, in order.
        stub_body: (whisker,) body numbers of the clamped stubs.
        link_body: per whisker, (n_links,) body numbers.
        whisker_of_geom: (geom,) number of the whisker, -1 for objects.
        slot_geoms: per slot, the numbers of its geoms.
    """

    model: Any
    stub_body: NDArray[np.int64]
    link_body: tuple[NDArray[np.int64], ...]
    whisker_of_geom: NDArray[np.int64]
    slot_geoms: tuple[NDArray[np.int64], ...]


def mujoco_module() -> Any:
    """MuJoCo, new enough for its ``discrete`` integrator and moving surfaces.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        InputError: it is older than 3.13.
    """
    mujoco = require_extra("mujoco", "mujoco", "the MuJoCo engine")
    if not hasattr(mujoco.mjtIntegrator, "mjINT_DISCRETE"):
        raise refuse("mujoco", mujoco.__version__, "too old", "install mujoco 3.13 or newer")
    return mujoco


def build_model(
    rods: Sequence[Rod],
    slots: Sequence[Sequence[Piece]],
    config: SolverConfig,
    options: MujocoOptions,
) -> Compiled:
    """Compile the array and the objects; the bases are put in place later (``body_pos``)."""
    mujoco = mujoco_module()
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    set_options(mujoco, spec, config, options)
    contact = {
        "condim": 3 if config.friction > 0.0 else 1,
        "friction": [config.friction, 0.0, 0.0],
        "solref": [1e3 * options.contact_time_s, 1.0],
        "solimp": [IMPEDANCE, IMPEDANCE, 0.001, 0.5, 2.0],
    }
    for w, rod in enumerate(rods):
        add_whisker(mujoco, spec, w, rod, config.contact_offset_mm, contact)
    for slot, pieces in enumerate(slots):
        _add_object(mujoco, spec, slot, pieces, contact)
    model = spec.compile()
    model.flg_surfacevel = True
    return _located(mujoco, model, rods, slots)


def set_options(mujoco: Any, spec: Any, config: SolverConfig, options: MujocoOptions) -> None:
    steps = max(1, int(np.ceil(config.frame_s / config.step_s - 1e-9)))
    spec.option.timestep = 1e3 * config.frame_s / steps
    spec.option.gravity = [0.0, 0.0, 0.0]
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_DISCRETE
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_SPARSE
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.impratio = options.friction_stiffness
    spec.option.tolerance = options.tolerance
    if options.sleep:
        spec.option.enableflags |= int(mujoco.mjtEnableBit.mjENBL_SLEEP)
        spec.option.sleep_tolerance = 1e-5


def add_whisker(
    mujoco: Any, spec: Any, w: int, rod: Rod, offset_mm: float, contact: dict[str, Any]
) -> None:
    stub = spec.worldbody.add_body(name=f"stub{w}")
    stub.add_site(name=f"base{w}")
    for kind in ("mjSENS_FORCE", "mjSENS_TORQUE"):
        spec.add_sensor(
            type=getattr(mujoco.mjtSensor, kind),
            objtype=mujoco.mjtObj.mjOBJ_SITE,
            objname=f"base{w}",
        )
    centre = rod.moment_g_mm / rod.mass_g
    transverse = rod.inertia_g_mm2 - rod.mass_g * centre**2
    damping = 1e3 * rod.damping_time_s() * MN_PER_UN * rod.stiffness_uN_mm
    parent, at = stub, rod.stub_length_mm
    for i in range(rod.n_links):
        half = 0.5 * rod.rest_angle_rad[i]
        body = parent.add_body(
            name=f"link{w}_{i}",
            pos=[at, 0.0, 0.0],
            quat=[np.cos(half), 0.0, 0.0, np.sin(half)],
            mass=MG_PER_G * rod.mass_g[i],
            ipos=[centre[i], 0.0, 0.0],
            inertia=MG_PER_G * np.array([rod.axial_inertia_g_mm2[i], *2 * [transverse[i]]]),
            explicitinertial=True,
        )
        for axis in ([0.0, 0.0, 1.0], [0.0, 1.0, 0.0]):
            body.add_joint(
                type=mujoco.mjtJoint.mjJNT_HINGE,
                axis=axis,
                stiffness=[MN_PER_UN * rod.stiffness_uN_mm[i], 0.0, 0.0],
                damping=[damping[i], 0.0, 0.0],
            )
        at = rod.link_length_mm[i]
        radius = 0.5 * (rod.radius_start_mm[i] + rod.radius_end_mm[i])
        body.add_geom(
            name=f"skin{w}_{i}",
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[0.0, 0.0, 0.0, at, 0.0, 0.0],
            size=[radius, 0.0, 0.0],
            margin=offset_mm,
            contype=0,
            conaffinity=1,
            **contact,
        )
        parent = body


def _add_object(
    mujoco: Any, spec: Any, slot: int, pieces: Sequence[Piece], contact: dict[str, Any]
) -> None:
    body = spec.worldbody.add_body(name=f"object{slot}", mocap=True)
    for k, (vertices, faces) in enumerate(pieces):
        spec.add_mesh(
            name=f"piece{slot}_{k}",
            uservert=np.asarray(vertices, np.float64).ravel().tolist(),
            userface=np.asarray(faces, np.int32).ravel().tolist(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX,
        )
        body.add_geom(
            name=f"piece{slot}_{k}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"piece{slot}_{k}",
            contype=1,
            conaffinity=0,
            **contact,
        )


def _located(
    mujoco: Any, model: Any, rods: Sequence[Rod], slots: Sequence[Sequence[Piece]]
) -> Compiled:
    def number(kind: str, name: str) -> int:
        return int(mujoco.mj_name2id(model, getattr(mujoco.mjtObj, f"mjOBJ_{kind}"), name))

    owner = np.full(model.ngeom, -1, np.int64)
    links: list[NDArray[np.int64]] = []
    for w, rod in enumerate(rods):
        links.append(np.array([number("BODY", f"link{w}_{i}") for i in range(rod.n_links)]))
        for i in range(rod.n_links):
            owner[number("GEOM", f"skin{w}_{i}")] = w
    return Compiled(
        model=model,
        stub_body=np.array([number("BODY", f"stub{w}") for w in range(len(rods))]),
        link_body=tuple(links),
        whisker_of_geom=owner,
        slot_geoms=tuple(
            np.array([number("GEOM", f"piece{s}_{k}") for k in range(len(pieces))])
            for s, pieces in enumerate(slots)
        ),
    )


def surface_velocity(model: Any, geoms: NDArray[np.int64], velocity: Array, spin: Array) -> Array:
    """What MuJoCo takes as the surface velocity of the geoms of one moving rigid body.

    Args:
        model: the ``MjModel``.
        geoms: (geom,) numbers.
        velocity: (3,) of the body's origin, along the body's own axes.
        spin: (3,) angular velocity, along the body's own axes.

    Returns:
        (geom, 6): linear at the origin of each geom, then angular, along the geom's axes.
    """
    w, x, y, z = model.geom_quat[geoms].T
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )  # (3, 3, geom): body axes from geom axes
    there = velocity + np.cross(spin, model.geom_pos[geoms])
    linear = np.einsum("ijg,gi->gj", turn, there)
    angular = np.einsum("ijg,i->gj", turn, spin)
    return np.concatenate([linear, angular], axis=1)
