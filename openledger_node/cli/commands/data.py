"""`data`: registering text and files, sharing, deriving, withdrawing and erasing them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, cast

import click

from openledger_node.cli import text
from openledger_node.cli.app import App, pass_app
from openledger_node.cli.commands.begin import say_written
from openledger_node.cli.lazy import LazyGroup
from openledger_node.cli.options import FILE, accounts_text, creators_text, say_recorded
from openledger_node.cli.values import creator, floor, parse_share_policy

if TYPE_CHECKING:
    from openledger_node.node.results import (
        Added,
        Contribution,
        Contributions,
        Derived,
        DerivedFrom,
    )

Policy = Literal["none", "all"] | Sequence[str]
MAX_SKIPPED_SHOWN: Final = 20
MAX_SOURCES_SHOWN: Final = 12


@click.group(cls=LazyGroup)
def data() -> None:
    """Register text and files, share and withdraw them.

    \b
    Examples:
      oln data add handbook/ --title "Our handbook" --license CC-BY-4.0
      oln data list
    """


@data.command("add")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=FILE)
@click.option("--title", required=True, metavar="T", help="What others will see.")
@click.option("--license", "licence", default="", metavar="SPDX", help="An SPDX expression.")
@click.option("--datanet", metavar="D", help="The collection to add it to.")
@click.option(
    "--creator",
    "creators",
    type=creator,
    multiple=True,
    metavar="ACCOUNT:SHARE",
    help="Who made it, in what shares. Repeatable. [default: this account]",
)
@click.option(
    "--derived-from",
    type=floor,
    multiple=True,
    metavar="ID:BP",
    help="What it was made from, with the basis points of its earnings due there. Repeatable.",
)
@click.option(
    "--share",
    type=parse_share_policy,
    default="none",
    show_default=True,
    metavar="none|all|ACCOUNT,...",
    help="Who may have the text itself; the ledger has only its commitment.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be registered; record nothing.")
@pass_app
def data_add(
    app: App,
    paths: tuple[Path, ...],
    title: str,
    licence: str,
    datanet: str | None,
    creators: tuple[tuple[str, int], ...],
    derived_from: tuple[tuple[str, int], ...],
    share: str | list[str],
    dry_run: bool,
) -> None:
    """Register files and folders as one contribution.

    The text stays on this machine unless --share says otherwise. Hidden files, links, empty files
    and documents registered before are skipped, and listed.

    \b
    Examples:
      oln data add handbook/ --title "Our handbook" --license CC-BY-4.0
      oln data add poems.txt --title Poems --creator ana:2 --creator ben:1 --share all
      oln data add handbook/ --title "Our handbook" --dry-run
    """
    with app.home() as home:
        result = home.data_add(
            paths,
            title=title,
            license=licence,
            datanet=datanet,
            creators=creators,
            derived_from=derived_from,
            share=cast(Policy, share),
            dry_run=dry_run,
            progress=app.progress,
        )
    app.emit(result, _show_added)


def _show_added(result: Added) -> None:
    measured = (
        f"{text.counted(result.documents, 'document')}, {text.counted(result.tokens, 'token')}, "
        f"{text.bytes_text(result.size_bytes)}"
    )
    if result.dry_run:
        text.say(f"would register {measured}; nothing was recorded")
    else:
        text.say(f"registered {text.one_line(result.title)}: {measured}")
        text.say(f"contribution {result.contribution_id}")
        text.say(f"shared with {accounts_text(result.share, result.names)}")
    _show_sources(result.derived)
    if result.derivation_id:
        text.say(f"declared in {result.derivation_id}")
    for name in result.not_text[:MAX_SKIPPED_SHOWN]:
        text.say(f"not UTF-8 text, so no output is matched with it: {text.one_line(name)}")
    if len(result.not_text) > MAX_SKIPPED_SHOWN:
        text.say(f"and {len(result.not_text) - MAX_SKIPPED_SHOWN:,} more; --json lists all")
    for skipped in result.skipped[:MAX_SKIPPED_SHOWN]:
        text.say(f"skipped {text.one_line(skipped.path)}: {skipped.reason}")
    if len(result.skipped) > MAX_SKIPPED_SHOWN:
        text.say(f"and {len(result.skipped) - MAX_SKIPPED_SHOWN:,} more; --json lists all")


def _show_sources(sources: Sequence[DerivedFrom]) -> None:
    for source in sources[:MAX_SOURCES_SHOWN]:
        text.say(
            f"{source.ppm / 10_000:.1f} % of this contribution derives from "
            f"{text.one_line(source.title) or 'a contribution not held here'}, "
            f"{text.short(source.contribution_id)} of account "
            f"{text.one_line(source.account) or text.short(source.account_id)}"
        )
    if len(sources) > MAX_SOURCES_SHOWN:
        text.say(f"and from {len(sources) - MAX_SOURCES_SHOWN:,} more; --json lists all")


@data.command("list")
@click.argument("account", required=False)
@pass_app
def data_list(app: App, account: str | None) -> None:
    """List contributions: all that this home knows, or those of ACCOUNT.

    \b
    Example:
      oln data list
    """
    with app.home() as home:
        result = home.data_list(account)
    app.emit(result, _show_contributions)


def _show_contributions(result: Contributions) -> None:
    rows = [
        (
            text.short(shown.contribution_id),
            shown.title,
            shown.license,
            f"{shown.tokens:,}",
            shown.status,
            shown.payload,
        )
        for shown in result.contributions
    ]
    heads = ("contribution", "title", "licence", ">tokens", "status", "text")
    text.table(heads, rows, "none yet; register some with `oln data add`")


@data.command("show")
@click.argument("contribution", metavar="ID")
@pass_app
def data_show(app: App, contribution: str) -> None:
    """Show one contribution.

    \b
    Example:
      oln data show 5f2c81d0a7b3
    """
    with app.home() as home:
        result = home.data_show(contribution)
    app.emit(result, _show_contribution)


def _show_contribution(result: Contribution) -> None:
    epoch = f", epoch {result.epoch}" if result.epoch is not None else ""
    text.fields(
        [
            ("contribution", result.contribution_id),
            ("title", result.title),
            ("account", result.names.get(result.account_id, result.account_id)),
            ("licence", result.license or "none stated"),
            ("datanet", text.short(result.datanet_id or "")),
            ("documents", f"{result.documents:,}"),
            ("tokens", f"{result.tokens:,}"),
            ("size", text.bytes_text(result.size_bytes)),
            ("media type", result.media_type),
            ("creators", creators_text(result.creators, result.names)),
            ("derived from", creators_text(result.derived_from)),
            ("shared with", _share_text(result)),
            ("status", result.status + epoch),
            ("text", result.payload),
        ]
    )


def _share_text(result: Contribution) -> str:
    said = accounts_text(result.share, result.names)
    if result.share_pending is None:
        return said
    later = accounts_text(result.share_pending, result.names)
    return f"{said}; {later} from the epoch on that makes it final"


@data.command("get")
@click.argument("contribution", metavar="ID")
@click.argument("folder", metavar="DIR", type=FILE)
@pass_app
def data_get(app: App, contribution: str, folder: Path) -> None:
    """Write the documents of a contribution that this home holds into a new folder.

    \b
    Example:
      oln data get 5f2c81d0a7b3 handbook-copy
    """
    with app.home() as home:
        result = home.data_get(contribution, folder)
    app.emit(result, say_written)


@data.command("share")
@click.argument("contribution", metavar="ID")
@click.option(
    "--with",
    "share",
    type=parse_share_policy,
    required=True,
    metavar="none|all|ACCOUNT,...",
    help="Who may have the text from now on.",
)
@pass_app
def data_share(app: App, contribution: str, share: str | list[str]) -> None:
    """Say who may have the text of a contribution. What others hold already, they keep.

    \b
    Example:
      oln data share 5f2c81d0a7b3 --with all
    """
    with app.home() as home:
        result = home.data_share(contribution, cast(Policy, share))
    app.emit(result, say_recorded)


@data.command("derive")
@click.argument("contribution", metavar="ID")
@click.option("--dry-run", is_flag=True, help="Say what is found; record nothing.")
@pass_app
def data_derive(app: App, contribution: str, dry_run: bool) -> None:
    """Look for what a contribution derives from among all text held here, and declare it.

    `data add` does so by itself; this looks again, when more is held here, and at others'
    contributions. Uses of what derives from earlier work pay that work. A claim on another
    account's contribution counts when that one accepts it or the witnesses uphold it.

    \b
    Examples:
      oln data derive 5f2c81d0a7b3
      oln data derive 5f2c81d0a7b3 --dry-run
    """
    with app.home() as home:
        result = home.data_derive(contribution, dry_run=dry_run, progress=app.progress)
    app.emit(result, _show_derived)


_DERIVED: Final = {
    "declared": "declared in {}; it counts from the next epoch on",
    "claimed": "claimed in {}; it counts once its contributor accepts it, or the witnesses do",
    "declared before": "declared before in {}; nothing was recorded",
}


def _show_derived(result: Derived) -> None:
    if not result.sources:
        text.say("it derives from nothing that is held here; nothing was recorded")
        return
    _show_sources(result.sources)
    text.say(_DERIVED.get(result.state, "nothing was recorded").format(result.derivation_id))


_REASON = click.option("--reason", default="", metavar="TEXT", help="Why; all will see it.")


@data.command("withdraw")
@click.argument("contribution", metavar="ID")
@_REASON
@pass_app
def data_withdraw(app: App, contribution: str, reason: str) -> None:
    """Take a contribution out of scope for uses to come. What it has earned stays.

    \b
    Example:
      oln data withdraw 5f2c81d0a7b3 --reason "superseded"
    """
    with app.home() as home:
        result = home.data_withdraw(contribution, reason)
    app.emit(result, say_recorded)


@data.command("erase")
@click.argument("thing", metavar="ID")
@_REASON
@pass_app
def data_erase(app: App, thing: str, reason: str) -> None:
    """Erase the text of a contribution, or the payload of an event. No credit changes.

    \b
    Example:
      oln data erase 5f2c81d0a7b3 --reason "asked for by its author"
    """
    with app.home() as home:
        result = home.data_erase(thing, reason)
    app.emit(result, say_recorded)


@data.command("commons")
@click.argument("contribution", metavar="ID")
@pass_app
def data_commons(app: App, contribution: str) -> None:
    """List a contribution as common text, such as licences, which nobody is owed for.

    \b
    Example:
      oln data commons 5f2c81d0a7b3
    """
    with app.home() as home:
        result = home.data_commons(contribution)
    app.emit(result, say_recorded)
