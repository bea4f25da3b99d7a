"""Commands on how datasets are to be stored: which format, where, under which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from workflow.commands.tables import format_option, show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@click.group()
def policy() -> None:
    """Decide in which format and where datasets are stored.

    Settings hold for a site, for the repository, for a camera, or for a dataset type; each of these
    gives way to the next, and all to what a put asks for.
    """


def _scope_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in (
        ("--site", "Only for processes at this site (they say it by SKYSPINE_SITE)."),
        ("--storage-class", "Only for dataset types of this storage class."),
        ("--instrument", "Only for data of this camera."),
        ("--dataset-type", "Only for this dataset type, which may be one to come."),
    ):
        function = click.option(name, default="", metavar="NAME", help=text)(function)
    return function


@policy.command("set")
@click.argument("repo")
@click.argument("settings", nargs=-1, required=True, metavar="SETTING=VALUE...")
@_scope_options
def set_(repo: str, settings: Sequence[str], **scope: str) -> None:
    """Set how datasets are to be stored in REPO from now on.

    \b
    format=NAME OPTION=VALUE...   the format, with its options
    endpoint=NAME                 the storage
    path=TEMPLATE                 the path there, as in '{run}/{dataset_type}/{visit}'
    create=yes|no                 whether a put may register a dataset type that is new
    fsync=yes|no                  whether files are flushed to the disk
    """  # noqa: D301 (click wants the control character)
    from butler import Butler
    from butler.policy.settings import from_texts, shown

    pairs = [text.partition("=") for text in settings]
    for name, equals, _ in pairs:
        if not equals:
            raise click.UsageError(f"'{name}' is no setting with its value; write {name}=VALUE.")
    given = from_texts({name: value for name, _, value in pairs})
    with Butler(repo, writeable=True) as butler:
        changed = butler.policy.set(**scope, **given)
    for name, value in changed.items():
        click.echo(f"{_named(scope)}: {name} = {shown(name, value)}")
    if not changed:
        click.echo("That is how it was already.")


@policy.command()
@click.argument("repo")
@click.argument("settings", nargs=-1, required=True, metavar="SETTING...")
@_scope_options
def unset(repo: str, settings: Sequence[str], **scope: str) -> None:
    """Take settings of REPO back, where they were set; what gave way to them holds again."""
    from butler import Butler

    with Butler(repo, writeable=True) as butler:
        butler.policy.unset(*settings, **scope)
    click.echo(f"{_named(scope)}: {', '.join(settings)} taken back.")


def _named(scope: dict[str, str]) -> str:
    from butler.policy.policies import Scope

    return str(Scope(**scope))


@policy.command("show")
@click.argument("repo")
@click.option("--history", is_flag=True, help="All that was ever set and taken back.")
@click.option("--yaml", "as_yaml", is_flag=True, help="As a file that `policy load` takes.")
@format_option
def show_(repo: str, history: bool, as_yaml: bool, style: str) -> None:
    """Show what is set in REPO, what gives way first."""
    from butler import Butler
    from butler.policy.settings import shown

    with Butler(repo) as butler:
        rules = butler.policy.history() if history else butler.policy.rules()
        document = butler.policy.as_rules() if as_yaml else []
    if as_yaml:
        import yaml

        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
        return
    rows = [
        {
            "where": str(rule.scope),
            "setting": rule.setting,
            "value": shown(rule.setting, rule.value),
            "set by": rule.set_by,
            "set at": rule.set_at,
        }
        for rule in rules
    ]
    show(rows, style, ("where", "setting", "value", "set by", "set at"))


@policy.command()
@click.argument("repo")
@click.argument("file")
@click.option("--dry-run", is_flag=True, help="Only check it, and tell what would change.")
def load(repo: str, file: str, dry_run: bool) -> None:
    """Make the policy of REPO what the YAML FILE says; what it does not say is taken back.

    `skyspine policy show REPO --yaml` writes such a file.
    """
    from butler import Butler
    from butler.policy.settings import shown

    with Butler(repo, writeable=not dry_run) as butler:
        changed = butler.policy.load(document(file), dry_run=dry_run)
    for scope, name, value in changed:
        click.echo(f"{scope}: {name} = {shown(name, value)}")
    said = "would change" if dry_run else "changed"
    click.echo(f"{len(changed)} settings {said}.")


def document(file: str) -> Any:
    """Read a YAML file that a user named."""
    import yaml

    from registry import plain_yaml

    try:
        return plain_yaml.load_file(file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror or error}.") from error
    except yaml.YAMLError as error:
        raise click.ClickException(f"{file} is no YAML: {error}") from error


@policy.command()
@click.argument("repo")
@click.argument("file", required=False)
def check(repo: str, file: str | None) -> None:
    """Check what is set in REPO, or what FILE would set: endpoints, formats, cameras may have gone.

    Ends with status 1 when something could not be set any more.
    """
    from butler import Butler

    with Butler(repo) as butler:
        if file is not None:
            n_changes = len(butler.policy.load(document(file), dry_run=True))
            click.echo(f"{file} can be loaded; it would change {n_changes} settings.")
            return
        n_rules, problems = len(butler.policy.rules()), butler.policy.problems()
    for rule, why in problems:
        click.echo(f"{rule.scope}: {rule.setting}: {why}", err=True)
    if problems:
        raise click.ClickException(
            f"{len(problems)} of {n_rules} settings cannot be kept to; set them anew, or take them "
            f"back: skyspine policy unset {repo} SETTING --..."
        )
    click.echo(f"All {n_rules} settings can be kept to.")


@policy.command()
@click.argument("repo")
@click.argument("dataset_type")
@click.option("--instrument", default="", help="Camera of the datasets.")
@format_option
def explain(repo: str, dataset_type: str, instrument: str, style: str) -> None:
    """Say how datasets of DATASET_TYPE will be stored in REPO, and which layer decided what."""
    from butler import Butler

    with Butler(repo) as butler:
        told = butler.policy.explain(dataset_type, instrument)
    rows = [
        {
            "setting": reason.setting,
            "value": reason.value,
            "decided by": reason.layer,
            "set by": reason.set_by,
            "set at": reason.set_at,
        }
        for reason in told
    ]
    show(rows, style, ("setting", "value", "decided by", "set by", "set at"))
