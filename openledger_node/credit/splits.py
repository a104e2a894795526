"""The splits: pure functions that divide an amount and hand out all of it (C5 to C8, C10, C13).

Both the fold and `explain` call these, so an explanation cannot tell another story than the
statement. Amounts are micro-credits, shares of a fee basis points, weights ppm; keys are ids or
ascii words; salts are ids (C6, C7) or the cut's id (C10). The order of the weights has no influence
on who gets what.
"""

from __future__ import annotations

from typing import Final

from openledger_node.credit.apportion import apportion, untied_parts
from openledger_node.credit.state_records import Shares
from openledger_node.ledger.genesis import BASIS_POINTS, Params

UNATTRIBUTED_KEY: Final = bytes(32)
"""Stands for the unattributed ppm among the contributions of a receipt (C7)."""


def fee_parts(
    receipt_id: bytes, fee: int, params: Params, has_agent: bool
) -> tuple[int, int, int, int]:
    """(network, data, model, agent) of a fee (C5, C6). Without an agent its part is the model's."""
    network, roles = _roles(fee, params, has_agent)
    data, model, agent = apportion(fee - network, roles, receipt_id)
    return network, data, model, agent


def untied_fee_parts(fee: int, params: Params, has_agent: bool) -> tuple[int, int, int, int] | None:
    """`fee_parts` where they are the same for every receipt; None where its id breaks a tie."""
    network, roles = _roles(fee, params, has_agent)
    parts = untied_parts(fee - network, roles)
    return None if parts is None else (network, parts[0], parts[1], parts[2])


def _roles(fee: int, params: Params, has_agent: bool) -> tuple[int, list[tuple[bytes, int]]]:
    """(network fee, the weights of the rest). A weight of 0 takes no part in any tie."""
    data_bp, model_bp, agent_bp = params.role_bp
    if not has_agent:
        model_bp, agent_bp = model_bp + agent_bp, 0
    roles = [(b"data", data_bp), (b"model", model_bp), (b"agent", agent_bp)]
    return fee * params.network_fee_bp // BASIS_POINTS, roles


def data_parts(receipt_id: bytes, data: int, weights: Shares, unattributed: int) -> list[int]:
    """The data part over a receipt's contributions, in their order; the last is the unattributed
    one (C7).
    """
    parts = untied_parts(data, weights, unattributed)
    if parts is None:
        return apportion(data, (*weights, (UNATTRIBUTED_KEY, unattributed)), receipt_id)
    return parts


def floor_parts(released: int, floors: Shares) -> tuple[list[tuple[bytes, int]], int]:
    """([(ancestor, its part)], the rest) of what is released to an artefact in an epoch (C8)."""
    takes = [(ancestor, released * floor_bp // BASIS_POINTS) for ancestor, floor_bp in floors]
    return takes, released - sum(part for _, part in takes)


def creator_parts(total: int, creators: Shares, cut_id: bytes) -> list[tuple[bytes, int]]:
    """[(creator, part)] of an artefact's whole due in an epoch (C10)."""
    parts = apportion(total, creators, cut_id)
    return [(account, part) for (account, _), part in zip(creators, parts, strict=True)]
