# SPDX-License-Identifier: Apache-2.0
"""Entry point of `whetstone`: parses, calls, turns errors of people into one clear text."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer
from rich.text import Text

from whetstone_cli.cli import (
    features,
    methods,
    models,
    node_params,
    operate,
    operator_console,
    post_training,
    ppo,
    status,
)
from whetstone_cli.cli.commands import dataset_jobs, demo, demonstrations, doctor, evaluate, train, up
from whetstone_cli.cli.errors import sentence_of
from whetstone_cli.cli.screen import console
from whetstone_cli.cli.stack import end_on_stop_signals
from whetstone_cli.cli.streams import forgive_output
from whetstone_common.core.surroundings import give_home

app = typer.Typer(
    help="A vision-language-action policy on a robot arm, through ROS 2.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich", a unit in square brackets would be taken for a style
)

_INTERRUPTED = 130
_DEBUG = "--debug"  # wherever it stands on the line

# In the order of the help.
COMMANDS = (
    methods, models, operate, operator_console, node_params, status, post_training, features, ppo, up, evaluate, train,
    demo, demonstrations, dataset_jobs, doctor,
)  # fmt: skip
for commands in COMMANDS:
    commands.register(app)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    """A vision-language-action policy on a robot arm, through ROS 2."""


def main() -> None:
    """Run the command line; what an operator can put right ends without a traceback."""
    forgive_output()
    give_home(os.environ)
    end_on_stop_signals()
    is_debug = _DEBUG in sys.argv
    try:
        app(args=[word for word in sys.argv[1:] if word != _DEBUG])
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if is_debug:
            raise
        headline, _, rest = sentence_of(error).partition("\n\n")
        console.print(Text.assemble(("error:", "bold red"), " ", headline), soft_wrap=True)
        if rest:
            console.print(rest, highlight=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
