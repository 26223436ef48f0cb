"""Serve a trained model over HTTP: `python -m vintk_jax.serve --workdir runs/revit_digits`.

Each image runs at the length that the assigner of `vintk_jax.assign` gives it within a budget;
without an assigner, at the longest. The workdir is the training's, or a folder that `vintk_jax
export` has written in the huggingface format. The page at http://127.0.0.1:8000/ shows it at work;
docs/service.md has the addresses, the bounds, and how to run it for others. Ctrl-C or SIGTERM end
it when what was accepted is answered.
"""

from vintk_jax.command_line import Invocation, command, run


@command("serve", about=__doc__, default_config="configs/serve.py", needs_config=False)
def main(invocation: Invocation) -> None:
    """Serve."""
    from vintk_jax.extras import missing
    from vintk_jax.report.console import make_console

    try:
        from vintk_jax.serving.service import serve
    except ModuleNotFoundError as error:
        raise missing("vintk_jax.serve", error, "serve") from error
    console = make_console(stderr=True)

    def say(note: str) -> None:
        console.print(note, soft_wrap=True, highlight=False)

    serve(
        invocation.workdir,
        invocation.config,
        invocation.compile_cache,
        say,
        check_only=invocation.dry_run,
    )
    if invocation.dry_run:
        console.print("A dry run: the address is free; nothing was loaded.")


if __name__ == "__main__":
    run(main)
