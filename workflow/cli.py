"""The root command: ``skyspine``.

Each command lives in a module of `workflow.commands` that is imported when the command is called,
so that ``skyspine --help`` needs neither SQLAlchemy nor astropy. Errors end as one sentence and a
status: 0 done, 1 failed, 2 misused.
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from typing import Any, NoReturn

import click

__all__ = ["main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "create": ("repositories", "Make a repository."),
    "repository": ("repositories", "Show and change what other repositories one reads."),
    "check": ("repositories", "Compare database and files both ways."),
    "endpoint": ("endpoints", "Store at S3, WebDAV, SFTP or in other folders."),
    "policy": ("policies", "Decide in which format and where datasets are stored."),
    "table": ("row_tables", "Keep catalogues as rows of tables in the database."),
    "convert": ("converting", "Bring datasets into another format, or to another endpoint."),
    "cache": ("caches", "Show and empty what is kept here of the files of servers."),
    "db": ("databases", "Create, upgrade, inspect the schema of a database."),
    "instrument": ("cameras", "Register cameras."),
    "ingest-raws": ("cameras", "Take raw files in."),
    "define-visits": ("visits", "Make visits of exposures by the rule of their camera."),
    "ingest-named": ("archives", "Take files in whose names tell what they are."),
    "register-dataset-type": ("dataset_types", "Register a dataset type."),
    "remove-dataset-type": ("dataset_types", "Remove a dataset type that has no dataset."),
    "collection": ("collections", "Make, chain, tag and remove collections."),
    "find-file": ("archives", "Find the dataset of a file by its name."),
    "ingest-files": ("ingesting", "Take in files of which a table says what they are."),
    "skymap": ("skymaps", "Divide the sky into tracts and patches."),
    "load-exposures": ("logs", "Load the exposures of an observing log."),
    "certify": ("calibrations", "Declare over which time calibrations hold."),
    "decertify": ("calibrations", "Declare over which time calibrations do not hold."),
    "import-calibrations": ("calibrations", "Certify what an older stack's registry says."),
    "calibration-policy": ("calibrations", "Show or set what is taken when nothing is valid."),
    "why-calibration": ("calibrations", "Say why it is this calibration, and not another."),
    "query-datasets": ("queries", "Find datasets."),
    "query-data-ids": ("queries", "List data IDs."),
    "query-dimension-records": ("queries", "List exposures, detectors, nights, ..."),
    "query-collections": ("queries", "List collections."),
    "query-dataset-types": ("queries", "List dataset types."),
    "export": ("exchange", "Write datasets and what belongs to them to a file."),
    "import": ("exchange", "Take in an export of lsst-daf-butler or of another repository."),
    "transfer": ("transferring", "Take datasets of another repository, with their history."),
    "retrieve-artifacts": ("retrieving", "Bring the files of datasets into a folder."),
    "prune-datasets": ("transferring", "Remove files of datasets, or datasets altogether."),
    "remove-runs": ("transferring", "Remove runs, after telling what depends on them."),
    "run": ("running", "Run a pipeline on processes of this machine."),
    "graph": ("graphs", "Take quanta away in a file, execute them there, bring them home."),
    "plan": ("planning", "Tell what a planned run will take, and what may begin."),
    "execute-quantum": ("planning", "Execute one quantum of a planned run."),
    "qc": ("quality", "Watch what tasks measure: thresholds, checks, incidents."),
    "log": ("log_records", "Read what tasks logged, by run, quantum, data and level."),
    "prune-log": ("log_records", "Delete old log records."),
    "pipeline": ("pipelines", "Show, check and draw a pipeline."),
    "provenance": ("history", "Tell what a dataset was made from, or what was made of it."),
    "how-made": ("making", "Tell with which configuration and software a dataset was made."),
    "taint": ("history", "Tell what a withdrawn dataset taints, and where that is used."),
    "compare-histories": ("history", "Tell in what the histories of two datasets differ."),
    "made-with": ("history", "Tell which software version made what."),
    "config-history": ("history", "Tell every value that a configuration had, and who set it."),
    "config-diff": ("configurations", "Tell in which configuration values two runs differ."),
    "config-find": ("configurations", "Tell which runs used a configuration value."),
    "report": ("reporting", "Read, draw and export the reporting views."),
    "query": ("reporting", "Answer a named question."),
    "demo": ("demonstration", "Run the main job on simulated or real frames."),
}

IN_LSST = {
    "associate": "collection tag",
    "collection-chain": "collection chain",
    "remove-collections": "collection remove",
    "certify-calibrations": "certify",
    "export-calibs": "export",
    "ingest-zip": "import",
    "retrieve-artifacts-for-quanta": "retrieve-artifacts",
    "transfer-datasets": "transfer",
    "transfer-from-graph": "graph",
    "provenance-report": "provenance",
    "register-instrument": "instrument register",
    "config-validate": "policy",
}
"""What the commands of lsst-daf-butler and its like are called here, where it is something else."""


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's signature)
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"workflow.commands.{COMMANDS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from registry.errors import did_you_mean

            hint = did_you_mean(args[0], COMMANDS)
            if args[0] in IN_LSST:
                hint = f" That is `skyspine {IN_LSST[args[0]]}` here."
            raise click.UsageError(f"{error.format_message()}{hint}", ctx) from error

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 (click's signature)
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="skyspine")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--log-level",
    "log_levels",
    multiple=True,
    metavar="[COMPONENT=]LEVEL",
    help="From which level on to log: trace, debug, verbose, info, warning, error or critical.",
)
@click.option("--log-config", metavar="FILE", help="YAML file that says how to log, and to where.")
@click.pass_context
def root(
    ctx: click.Context, debug: bool, log_levels: tuple[str, ...], log_config: str | None
) -> None:
    """Middleware of a sky survey: data access, provenance and pipelines on one database."""
    from workflow import logs

    ctx.obj = {"debug": debug}
    logs.configure(logs.settings_from(log_config, log_levels))
    ctx.call_on_close(_close_logs)


def _close_logs() -> None:
    """Write what waits to be logged, and tell what was lost."""
    from workflow import logs

    for told in logs.close():
        click.echo(f"skyspine: {told}", err=True)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and leave with its status."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        status: Any = root.main(args=given, prog_name="skyspine", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if "--debug" in given:
            raise
        _tell(error)
        sys.exit(1)


def _tell(error: Exception) -> None:
    from registry.errors import SkyspineError

    if isinstance(error, (SkyspineError, ValueError, OSError)):
        click.echo(f"skyspine: {error}", err=True)
    else:
        click.echo(
            f"skyspine: {type(error).__name__}: {error}\n"
            "This should not happen; `skyspine --debug ...` shows where it did.",
            err=True,
        )
