"""`./scripts/drill power-loss`."""

import shutil
import tempfile
from pathlib import Path

import click

from lab.commands.drill import forget_settings, log_to
from lab.drill.power_loss.judge import judge
from lab.drill.power_loss.recorder import recorded
from lab.drill.power_loss.workloads import WORKLOADS


@click.command("power-loss")
@click.option(
    "--images", type=click.IntRange(1), default=2000, show_default=True, help="Power losses at most, of each file."
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of when, and what was written.")
@click.pass_context
def command(ctx: click.Context, images: int, seed: int) -> None:
    """Take the power away between any two writes, on files that forget what was not synced.

    What broker, stock and order have SQLite execute is replayed, and each write and sync written down. For many moments
    the files are made as a disk may have them then: what was synced, and any part of what was not. Each must open
    undamaged, with every transaction that was acknowledged, and none by half. Exit code 0 only if all do; one that does
    not is kept.
    """
    forget_settings()
    root = Path(tempfile.mkdtemp(prefix="orders-power-loss-"))
    log_to(root / "drill.log")
    failed = False
    for name, work in WORKLOADS.items():
        with recorded() as recording:
            work(root / f"{name}.db")
        verdict = judge(recording.statements, root / name, seed=seed, most=images)
        click.echo(
            f"{name}: {verdict.transactions} transactions, {verdict.events} writes and syncs, "
            f"{verdict.judged.total()} images, {len(verdict.wrong)} wrong"
        )
        for wrong in verdict.wrong[:10]:
            click.echo(f"  {wrong}")
        failed |= bool(verdict.wrong)
    if failed:
        click.echo(f"Kept: {root}")
        ctx.exit(1)
    shutil.rmtree(root)
