"""`datanet`, `model`, `agent`: registering, listing and showing them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.lazy import LazyGroup
from openledger_node.cli.options import FILE, creators_text
from openledger_node.cli.values import creator, floor, weighted

if TYPE_CHECKING:
    from openledger_node.node.results import Agent, Agents, Datanet, Datanets, Model, Models


@click.group(cls=LazyGroup)
def datanet() -> None:
    """Collections of contributions.

    \b
    Examples:
      oln datanet create recipes --description "Recipes that were tried"
      oln datanet list
    """


@datanet.command("create")
@click.argument("name")
@click.option("--description", default="", metavar="TEXT", help="What belongs in it.")
@click.option("--license-policy", default="", metavar="TEXT", help="Which licences it takes.")
@pass_app
def datanet_create(app: App, name: str, description: str, license_policy: str) -> None:
    """Begin a collection that contributions can be added to.

    \b
    Example:
      oln datanet create recipes --description "Recipes that were tried"
    """
    with app.home() as home:
        result = home.datanet_create(name, description, license_policy)
    app.emit(result, _show_datanet)


def _show_datanet(result: Datanet) -> None:
    text.fields(
        [
            ("datanet", result.datanet_id),
            ("name", result.name),
            ("account", result.account),
            ("description", result.description),
            ("licence policy", result.license_policy),
            ("contributions", f"{result.contributions:,}"),
            ("status", result.status),
        ]
    )


@datanet.command("list")
@pass_app
def datanet_list(app: App) -> None:
    """List the collections that this home knows.

    \b
    Example:
      oln datanet list
    """
    with app.home() as home:
        result = home.datanet_list()
    app.emit(result, _show_datanets)


def _show_datanets(result: Datanets) -> None:
    rows = [
        (text.short(shown.datanet_id), shown.name, f"{shown.contributions:,}", shown.status)
        for shown in result.datanets
    ]
    text.table(("datanet", "name", ">contributions", "status"), rows)


@datanet.command("show")
@click.argument("datanet", metavar="ID")
@pass_app
def datanet_show(app: App, datanet: str) -> None:
    """Show one collection.

    \b
    Example:
      oln datanet show 5f2c81d0a7b3
    """
    with app.home() as home:
        result = home.datanet_show(datanet)
    app.emit(result, _show_datanet)


@click.group(cls=LazyGroup)
def model() -> None:
    """Models and what they were trained on.

    \b
    Examples:
      oln model register helper --trained-on 5f2c81d0a7b3
      oln model list
    """


@model.command("register")
@click.argument("name")
@click.option(
    "--trained-on",
    type=weighted,
    multiple=True,
    metavar="ID[:WEIGHT]",
    help="A contribution or datanet it was trained on. Repeatable.",
)
@click.option(
    "--base",
    "bases",
    type=floor,
    multiple=True,
    metavar="ID:BP",
    help="A model it builds on, with the basis points of its earnings due there. Repeatable.",
)
@click.option(
    "--weights",
    "weights_files",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A file of weights; the ledger gets its digest. Repeatable.",
)
@click.option(
    "--creator",
    "creators",
    type=creator,
    multiple=True,
    metavar="ACCOUNT:SHARE",
    help="Who made it, in what shares. Repeatable. [default: this account]",
)
@click.option("--license", "licence", default="", metavar="SPDX", help="An SPDX expression.")
@pass_app
def model_register(
    app: App,
    name: str,
    trained_on: tuple[tuple[str, int], ...],
    bases: tuple[tuple[str, int], ...],
    weights_files: tuple[Path, ...],
    creators: tuple[tuple[str, int], ...],
    licence: str,
) -> None:
    """Register a model, with your own word on what it was trained on.

    Outputs of the model are attributed to exactly these contributions, and to what was retrieved.

    \b
    Examples:
      oln model register helper --trained-on 5f2c81d0a7b3 --trained-on 90ab12cd34ef:3
      oln model register helper-2 --base 11aa22bb33cc:1500 --weights helper.safetensors
    """
    with app.home() as home:
        result = home.model_register(
            name,
            trained_on=trained_on,
            bases=bases,
            weights_files=weights_files,
            creators=creators,
            license=licence,
            progress=app.progress,
        )
    app.emit(result, _show_model)


def _show_model(result: Model) -> None:
    text.fields(
        [
            ("model", result.model_id),
            ("name", result.name),
            ("account", result.account),
            ("licence", result.license or "none stated"),
            ("licences in its lineage", ", ".join(result.effective_licences)),
            ("trained on", creators_text(result.trained_on)),
            ("bases", creators_text(result.bases)),
            ("creators", creators_text(result.creators, result.names)),
            *(("weights", digest) for digest in result.digests),
            ("status", result.status),
        ]
    )


@model.command("list")
@pass_app
def model_list(app: App) -> None:
    """List the models that this home knows.

    \b
    Example:
      oln model list
    """
    with app.home() as home:
        result = home.model_list()
    app.emit(result, _show_models)


def _show_models(result: Models) -> None:
    rows = [
        (
            text.short(shown.model_id),
            shown.name,
            shown.account,
            f"{len(shown.trained_on):,}",
            shown.status,
        )
        for shown in result.models
    ]
    text.table(("model", "name", "account", ">trained on", "status"), rows)


@model.command("show")
@click.argument("model", metavar="ID")
@pass_app
def model_show(app: App, model: str) -> None:
    """Show one model and the licences in its lineage.

    \b
    Example:
      oln model show 11aa22bb33cc
    """
    with app.home() as home:
        result = home.model_show(model)
    app.emit(result, _show_model)


@click.group(cls=LazyGroup)
def agent() -> None:
    """Agents and who operates them.

    \b
    Examples:
      oln agent register desk --model 11aa22bb33cc
      oln agent list
    """


@agent.command("register")
@click.argument("name")
@click.option("--card", type=FILE, metavar="FILE", help="Its card; the ledger gets the digest.")
@click.option(
    "--model", "models", multiple=True, metavar="ID", help="A model it calls. Repeatable."
)
@click.option("--operator", metavar="ACCOUNT", help="Who is paid. [default: this account]")
@click.option(
    "--capability", "capabilities", multiple=True, metavar="WORD", help="What it does. Repeatable."
)
@pass_app
def agent_register(
    app: App,
    name: str,
    card: Path | None,
    models: tuple[str, ...],
    operator: str | None,
    capabilities: tuple[str, ...],
) -> None:
    """Register an agent; the agent part of its uses goes to its operator.

    \b
    Example:
      oln agent register desk --card card.json --model 11aa22bb33cc
    """
    with app.home() as home:
        result = home.agent_register(
            name, card=card, models=models, operator=operator, capabilities=capabilities
        )
    app.emit(result, _show_agent)


def _show_agent(result: Agent) -> None:
    text.fields(
        [
            ("agent", result.agent_id),
            ("name", result.name),
            ("account", result.account),
            ("operator", result.operator),
            ("card", result.card_digest or ""),
            ("capabilities", ", ".join(result.capabilities)),
            ("models", ", ".join(text.short(model) for model in result.models)),
            ("status", result.status),
        ]
    )


@agent.command("list")
@pass_app
def agent_list(app: App) -> None:
    """List the agents that this home knows.

    \b
    Example:
      oln agent list
    """
    with app.home() as home:
        result = home.agent_list()
    app.emit(result, _show_agents)


def _show_agents(result: Agents) -> None:
    rows = [
        (
            text.short(shown.agent_id),
            shown.name,
            shown.operator,
            ", ".join(shown.capabilities),
            shown.status,
        )
        for shown in result.agents
    ]
    text.table(("agent", "name", "operator", "capabilities", "status"), rows)


@agent.command("show")
@click.argument("agent", metavar="ID")
@pass_app
def agent_show(app: App, agent: str) -> None:
    """Show one agent.

    \b
    Example:
      oln agent show 22bb33cc44dd
    """
    with app.home() as home:
        result = home.agent_show(agent)
    app.emit(result, _show_agent)
