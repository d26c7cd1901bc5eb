"""The command line: ``python -m geowall`` or ``geowall``.

Each command is a function below that takes the parsed arguments and returns an exit code: 0 done, 1 a chapter
or a build failed, 2 refused before anything ran.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geowall import __version__
from geowall.paths import ROOT, GeowallError, RefusedError
from geowall.runs import chapters, ledger, store
from geowall.runs.chapters import Chapter
from geowall.runs.parameters import PROFILES, ParameterError, declared_in, read_yaml, words
from geowall.runs.progress import Progress, duration

# glibc hands large buffers back after each use, and a training asks for the same ones every step.
MALLOC = {
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
}


def run(args: argparse.Namespace) -> int:
    """Execute chapters, or reuse the runs that have the same sources, inputs and parameters."""
    chosen, given = _chosen(args), _pairs([*words(args.pairs), *args.parameter])
    files = read_yaml(args.file) if args.file else {}
    if len(chosen) > 1 and (given or files):
        why = "each chapter has its own parameters"
        raise ParameterError("several chapters were given parameters: nothing ran", why, "name one chapter")
    resolved = [chapter.resolve(args.profile, files, given) for chapter in chosen]
    store.make_writable(args.out)
    if len(chosen) > 1:
        return _run_together(chosen, args)
    return _run_one(chosen[0], resolved[0], args)


def _run_one(chapter: Chapter, given: dict[str, Any], args: argparse.Namespace) -> int:
    from geowall.runs import execute  # papermill takes a second to import, and `--help` should not

    progress = _progress(chapter, args)
    result = execute.run(chapter, args.profile, given, args.out, force=args.force, watch=progress)
    done = "reused, 0 cells executed" if result.cached else f"done in {duration(result.seconds)}"
    progress.close(f"{done}: {_short(result.folder)}")
    return 0


def _progress(chapter: Chapter, args: argparse.Namespace) -> Progress:
    past = ledger.past_cells(chapter, args.profile, args.out)
    return Progress(chapter.name, past, seconds=ledger.past_seconds(chapter, args.profile))


def _run_together(chosen: list[Chapter], args: argparse.Namespace) -> int:
    from geowall.runs.together import SKIPPED, run_all

    options = ["--profile", args.profile, "--out", str(args.out), *(["--force"] if args.force else [])]
    codes = run_all(chosen, lambda chapter: ["run", chapter.name, *options], args.jobs)
    failed = [name for name, code in codes.items() if code not in (0, SKIPPED)]
    skipped = [name for name, code in codes.items() if code == SKIPPED]
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    if skipped:
        print(f"not started, for they read what failed: {', '.join(skipped)}", file=sys.stderr)
    return 1 if failed else 0


def book(args: argparse.Namespace) -> int:
    """Execute every chapter, build the book of those runs, and say where it is and what it cost."""
    began, everything = time.monotonic(), chapters.every()
    for chapter in everything:
        chapter.resolve(args.profile)
    store.make_writable(args.out)
    code = _run_together(everything, args)
    if code == 0:
        site(args)
        print(f"all of it took {duration(time.monotonic() - began)} at the {args.profile} profile")
    return code


def estimate(args: argparse.Namespace) -> int:
    """Say what chapters will cost before anything runs: time, memory, disk, download."""
    from geowall.runs.estimate import estimates

    rows = estimates(_chosen(args), args.profile, args.out)
    print(f"{'chapter':28} {'time':>12} {'memory':>9} {'disk':>9} {'download':>10}  measured on")
    for row in rows:
        known = row["seconds"] is not None
        seconds = duration(row["seconds"]) if known else "unknown"
        memory = f"{row['memory_mb']:.0f} MB" if known else "unknown"
        basis = row["basis"] or "no run to go by"
        basis += f"; and {row['gpu_mb']:.0f} MB on the GPU" if row.get("gpu_mb") else ""
        basis += "; finished already, will be reused" if row["reused"] else ""
        disk, download = f"{row['disk_mb']:.1f} MB", f"{row['download_mb']:.0f} MB"
        print(f"{row['chapter']:28} {seconds:>12} {memory:>9} {disk:>9} {download:>10}  {basis}")
    total = duration(sum(row["seconds"] or 0 for row in rows if not row["reused"]))
    free = shutil.disk_usage(ROOT).free / 1e9
    print(f"still to run: {total} one after the other; {free:.0f} GB of disk are free")
    return 0


def publish(args: argparse.Namespace) -> int:
    """Run chapters and, when every cell has passed, put their pages and tables into the book."""
    from geowall.runs import publish, readme

    chosen = _chosen(args)
    store.make_writable(args.out)
    for chapter in chosen:
        progress = _progress(chapter, args)
        result = publish.publish(chapter, args.profile, args.out, progress)
        progress.close(f"published from {_short(result.folder)}")
    readme.refresh()
    return 0


def site(args: argparse.Namespace) -> int:
    """Render the committed pages, or with --profile the current runs of that profile, as a browsable book."""
    from geowall.site import build

    began = time.monotonic()
    if args.profile is None:
        index = build.build_published(ROOT, ROOT / "_build" / "html", strict=args.strict)
    else:
        store.make_writable(args.out)
        index = build.build_runs(_finished(args), args.out / "book" / "html", strict=args.strict)
    print(f"the book was built in {duration(time.monotonic() - began)}; open it with `make serve`, or open")
    print(f"  {index.resolve().as_uri()}")
    return 0


def _finished(args: argparse.Namespace) -> dict[str, Path]:
    from geowall.runs.execute import finished

    runs = finished(chapters.every(), args.profile, args.out)
    if not runs:
        what = f"no book was built from runs at the {args.profile} profile"
        why = f"no chapter has a current run in {_short(args.out)}"
        raise GeowallError(what, why, f"geowall book --profile {args.profile}")
    return runs


def serve(args: argparse.Namespace) -> int:
    """Serve the last built book on this machine alone."""
    built = [path for path in (ROOT / "_build" / "html", args.out / "book" / "html") if path.is_dir()]
    if not built:
        raise GeowallError("there is no book to serve", "none was built yet", "make site (or make book)")
    newest = max(built, key=lambda path: path.stat().st_mtime)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=newest)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", args.port), handler)
    except (OSError, OverflowError) as error:
        what, why = (
            f"the book is not served on port {args.port}",
            getattr(error, "strerror", None) or str(error),
        )
        raise GeowallError(what, why, f"geowall serve --port {args.port % 60_000 + 1025}") from error
    with server:
        print(f"{_short(newest)} is at http://127.0.0.1:{server.server_port} until Ctrl-C", flush=True)
        server.serve_forever()
    return 0


def status(args: argparse.Namespace) -> int:
    """Show each chapter's published page and its finished, running and failed runs."""
    for row in ledger.status(args.out):
        print(row["chapter"])
        print(f"  page      {row['page']} ({row['published']})")
        print(f"  finished  {row['finished']}\n  running   {row['running']}\n  failed    {row['failed']}")
    return 0


def parameters(args: argparse.Namespace) -> int:
    """List a chapter's parameters: name, type, allowed values, default, meaning."""
    for parameter in declared_in(chapters.find(args.chapter).notebook).values():
        print(parameter)
    return 0


def lab_train(args: argparse.Namespace) -> int:
    """Train a language model of the lab, or go on with a training that was stopped."""
    if sys.platform == "linux" and not MALLOC.keys() & os.environ.keys():
        os.execve(sys.executable, [sys.executable, "-m", "geowall", *sys.argv[1:]], os.environ | MALLOC)
    import torch

    from geowall.language import remake

    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(args.threads or torch.get_num_threads())
    progress = Progress(args.model)
    budget, work = (args.tokens, args.minutes), ROOT / "runs" / "lab" / args.model
    told = functools.partial(_tell_training, progress)
    made = remake.remake(args.model, args.corpus, *budget, args.to, work, device, told)
    losses = f"held-out loss {made['held_out_loss']:.3f} nats a token, trigram {made['trigram_loss']:.3f}"
    progress.close(f"{made['verdict']}: {losses}; {_short(args.to / args.model)}")
    return 0 if made["verdict"] == "trained" else 1


def _tell_training(progress: Progress, record: Any) -> None:
    gone = f"step {record.steps}/{record.total or '?'}  loss {record.loss:.3f}  {record.rate:,.0f} tokens/s"
    left = f", {duration(record.left)} left" if record.total and record.rate else ""
    progress.say(f"{gone}  {duration(record.seconds)}{left}")


def lab_saes(args: argparse.Namespace) -> int:
    """Train a grid of autoencoders on every layer of a language model; what is there is kept."""
    import torch

    from geowall.language import saes

    torch.set_num_threads(1)  # a site a thread
    progress = Progress(f"{args.model} saes")
    began = time.monotonic()

    def tell(done: int, total: int) -> None:
        left = (time.monotonic() - began) * (total - done) / done
        progress.say(
            f"checkpoint {done}/{total}  {duration(time.monotonic() - began)}, {duration(left)} left"
        )

    given = {name: values for name in saes.ARCHITECTURES if (values := getattr(args, name))}
    options = {name: getattr(args, name) for name in ("layers", "schedule", "steps", "sequences", "threads")}
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    saes.grid(
        args.model,
        args.widths,
        given or saes.SPARSITIES,
        args.sites,
        **options,
        device=device,
        folder=args.to,
        on_checkpoint=tell,
    )
    progress.close(f"trained: {_short(args.to)}")
    return 0


def census(args: argparse.Namespace) -> int:
    """Measure every checkpoint below a folder on text the model has not seen, and write one table."""
    from geowall.census import chapter

    progress = Progress("census")
    tokens = {"model": args.model, "corpus": args.corpus, "n_tokens": args.tokens, "seed": args.seed}
    table = chapter.measure_folder(
        args.folder, tokens, args.workers, args.scheduler, lambda done, total: progress.say(f"{done}/{total}")
    )
    store.write_atomically(args.table, lambda beside: table.to_parquet(beside, index=False))
    unread = table[table["status"] != "measured"]
    for name, status in zip(unread["name"], unread["status"], strict=True):
        print(f"passed over {name}: {status}", file=sys.stderr)
    progress.close(f"{len(table) - len(unread)} checkpoints measured: {_short(args.table)}")
    return 0


def plan(args: argparse.Namespace) -> int:
    """Say how wide a dictionary to train at a layer, from narrow ones that were measured there."""
    from geowall.wall import advice

    names = ("layer", "k", "target", "width", "model", "site", "architecture", "schedule")
    try:
        table = advice.read_table(args.checkpoints)
        geometry = advice.read_table(args.geometry, "layer_geometry") if args.geometry else None
        found = advice.advise(table, geometry=geometry, **{name: getattr(args, name) for name in names})
    except GeowallError as error:  # nothing has run: the input was refused
        raise ParameterError(error.what, error.why, error.fix) from error
    print(json.dumps(advice.as_json(found), indent=1) if args.json else advice.report(found))
    return 0


def clean(args: argparse.Namespace) -> int:
    """Remove failed, abandoned and old runs; keep the newest of each chapter and profile unless --all."""
    removed = ledger.clean(args.out, args.all)
    print(f"removed {len(removed)} from {_short(args.out)}")
    return 0


def _chosen(args: argparse.Namespace) -> list[Chapter]:
    return [chapters.find(name) for name in args.chapter] or chapters.every()


def _pairs(pairs: list[str]) -> dict[str, str]:
    for pair in pairs:
        if "=" not in pair:
            fix = f"-p {pair}=VALUE, with quotes or brackets around a value that holds spaces"
            raise ParameterError(f"-p {pair!r}: nothing ran", "it has no `=`", fix)
    return dict(pair.split("=", 1) for pair in pairs)


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geowall", description="Run, publish and render the chapters of the book."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function: Callable, profile: str | None = None) -> argparse.ArgumentParser:
        text = function.__doc__ or ""
        added = commands.add_parser(function.__name__, help=text.rstrip("."), description=text)
        added.set_defaults(function=function)
        folder = {"type": lambda path: Path(path).resolve(), "default": ROOT / "runs", "metavar": "DIR"}
        added.add_argument("--out", **folder, help="where runs lie; runs/ of the book by default")
        if profile:
            known = f"{', '.join(PROFILES)}; {profile} by default"
            added.add_argument("--profile", default=profile, help=known)
        return added

    executing = [command(run, "quick"), command(book, "quick")]
    for added in executing:
        added.add_argument("--force", action="store_true", help="execute even what is unchanged")
        added.add_argument("-j", "--jobs", type=int, help="chapters at a time; 2 where there are cores")
    executing[0].add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    text = "several pairs in one text: 'k=75 betas=[0.1, 0.2]'"
    executing[0].add_argument("--pairs", default="", metavar="TEXT", help=text)
    executing[0].add_argument("-f", "--file", type=Path, help="a YAML file of `name: value` lines")
    executing[1].set_defaults(strict=False)
    for added in (executing[0], command(estimate, "quick"), command(publish, "full")):
        added.add_argument("chapter", nargs="*", help="08 or 08_geometry_regression; all of them if none")
    rendering = command(site)
    rendering.add_argument("--profile", help="render the current runs of this profile instead")
    rendering.add_argument("--strict", action="store_true", help="a warning is an error")
    command(serve).add_argument("--port", type=int, default=8000)
    command(parameters).add_argument("chapter")
    command(status)
    command(clean).add_argument("--all", action="store_true", help="finished runs too")
    _add_census(command(census))
    _add_plan(command(plan))
    text = "Remake the language models of the lab, and autoencoders on their layers"
    _add_lab(commands.add_parser("lab", help=text.lower(), description=f"{text}."))
    return parser


def _add_census(added: argparse.ArgumentParser) -> None:
    path = {"type": lambda path: Path(path).resolve()}
    added.add_argument("folder", **path, help="checkpoints in the layout of Gemma Scope")
    added.add_argument("--table", **path, required=True, help="the parquet file to write")
    added.add_argument(
        "--model", default="lab-small", help="whose checkpoints they are; lab-small by default"
    )
    added.add_argument("--corpus", default="stdlib", help="stdlib, a folder of text files, or hf:<dataset>")
    added.add_argument("--tokens", type=int, default=16_384, help="to measure on; 16,384 by default")
    added.add_argument("--seed", type=int, default=0, help="of the choice of tokens")
    added.add_argument("--workers", type=int, default=0, help="processes; 0, the default, stays in this one")
    added.add_argument("--scheduler", default="", help="address of a dask scheduler, instead")


def _add_plan(added: argparse.ArgumentParser) -> None:
    path = {"type": lambda path: Path(path).resolve()}
    text = "the table that `geowall census --table` writes (parquet or CSV), or a folder that holds it"
    added.add_argument("checkpoints", **path, help=text)
    added.add_argument("--layer", type=int, required=True, help="counted from zero")
    added.add_argument("-k", type=float, required=True, help="active latents at which errors are compared")
    wanted = added.add_mutually_exclusive_group()
    wanted.add_argument("--target", type=float, help="the error (NMSE) to reach")
    wanted.add_argument("--width", type=int, help="the latents whose error to predict")
    added.add_argument("--geometry", **path, help="a table layer_geometry; without one, geometry is not used")
    for name in ("model", "site", "architecture", "schedule"):
        added.add_argument(f"--{name}", default="", help="where the table has several")
    added.add_argument("--json", action="store_true", help="print JSON")


def _add_lab(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    added = {}
    for name, function in (("train", lab_train), ("saes", lab_saes)):
        text = function.__doc__ or ""
        added[name] = actions.add_parser(name, help=text.rstrip("."), description=text)
        added[name].set_defaults(function=function)
        models = {"choices": ("lab-small", "lab-large"), "default": "lab-small"}
        added[name].add_argument("--model", **models, help="lab-small by default")
        added[name].add_argument("--device", help="cpu or cuda; cuda where there is one")
    _add_training(added["train"])
    _add_saes(added["saes"])


def _add_training(added: argparse.ArgumentParser) -> None:
    added.add_argument("--corpus", default="stdlib", help="stdlib, a folder of text files, or hf:<dataset>")
    budget = added.add_mutually_exclusive_group()
    budget.add_argument("--tokens", type=int, help="to train on; the model's own number by default")
    budget.add_argument("--minutes", type=float, help="to train for, instead")
    added.add_argument("--threads", type=int, help="on a CPU; as many as torch takes by default")
    folder = {"type": lambda path: Path(path).resolve(), "default": ROOT / "data" / "lab", "metavar": "DIR"}
    added.add_argument("--to", **folder, help="where the models lie; data/lab by default")


def _add_saes(added: argparse.ArgumentParser) -> None:
    wide = [128, 256, 512, 1024, 2048]
    added.add_argument("--widths", type=int, nargs="+", default=wide, help="latents; 128 to 2048 by default")
    for name, text in (
        ("jumprelu", "penalties of an active latent"),
        ("topk", "k"),
        ("batchtopk", "k"),
        ("spade", "weights of the distance penalty"),
    ):
        kind = int if text == "k" else float
        added.add_argument(f"--{name}", type=kind, nargs="+", default=[], help=f"sparsities: {text}")
    added.add_argument("--layers", type=int, nargs="+", help="counted from zero; all by default")
    added.add_argument("--sites", nargs="+", default=["res"], help="res, att, mlp; res by default")
    added.add_argument("--schedule", default="matched", help="matched or scaled (steps as width^0.65)")
    added.add_argument("--steps", type=int, default=600, help="of the smallest width")
    added.add_argument("--sequences", type=int, help="of the training part; all by default")
    added.add_argument("--threads", type=int, default=1, help="sites trained at once on a CPU")
    folder = {"type": lambda path: Path(path).resolve(), "required": True, "metavar": "DIR"}
    added.add_argument("--to", **folder, help="where the checkpoints lie")


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code, with failures told in three lines on standard error."""
    args = _parser().parse_args(argv)
    try:
        return args.function(args)
    except RefusedError as error:
        print(f"\n{error}", file=sys.stderr)
        return 2
    except GeowallError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        stopped = "stopped by the keyboard\n  why: Ctrl-C\n  fix: run the same command again"
        print(f"\n{stopped}: finished tables are kept", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
