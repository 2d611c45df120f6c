"""`unmask serve`."""

import argparse
import signal
import threading
from typing import TYPE_CHECKING

from ...rewards.errors import InputError
from . import Commands
from .evaluate import MODEL_OPTIONS, add_model_options

if TYPE_CHECKING:
    from ..serving.http import Server

_EXAMPLE = """\
examples:
  unmask serve --model demo
  unmask serve --model JetLM/SDAR-1.7B-Chat --decode static --set decode.temperature=0 --port 8000 --max-batch 64

With the openai client: OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none"). More in docs/integrations.md."""


def add_parser(commands: Commands) -> None:
    command = commands.add_parser(
        "serve",
        help="an OpenAI-compatible endpoint",
        description="Serve a checkpoint as an OpenAI-compatible endpoint (chat and text completions).",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--model", metavar="M", required=True, help="demo, a checkpoint directory, or a hub id")
    command.add_argument("--name", metavar="NAME", help="what clients call it (default: as --model)")
    command.add_argument("--host", metavar="H", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    command.add_argument("--port", metavar="P", type=int, default=8000, help="port; 0 takes a free one (default 8000)")
    command.add_argument("--decode", metavar="NAME", help="decoding preset for requests that do not say")
    command.add_argument("--set", metavar="decode.KEY=VALUE", action="append", default=[], help="decode setting, repeatable")
    command.add_argument(
        "--max-batch", metavar="N", type=int, default=32, help="sequences that share a forward pass (default 32)"
    )
    command.add_argument("--max-waiting", metavar="N", type=int, default=1024, help="requests that may wait (default 1024)")
    add_model_options(command)
    command.add_argument("--dtype", metavar="D", default="auto", help="auto (default), float32, bfloat16, float16")
    command.add_argument("--device", metavar="D", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")
    command.set_defaults(run=_serve)


def _serve(args: argparse.Namespace) -> int:
    from ..config import read_config
    from ..executor import Local
    from ..models.model import Model
    from ..serving.engine import Engine
    from ..serving.http import Server
    from ..serving.service import Service
    from ..source import open_source

    if args.max_batch < 1 or args.max_waiting < 1 or not 0 <= args.port < 65536:
        raise InputError("--max-batch and --max-waiting must be at least 1, --port between 0 and 65535")
    flags = {name: getattr(args, name) for name in ("model", "max_batch", "dtype", "device", *MODEL_OPTIONS)}
    config = read_config(None, {**flags, "task": ["serve"]}, args.set, args.decode)
    model, _ = Local().load(config, open_source(config), config.device)
    if not isinstance(model, Model):
        raise InputError(f"--model {args.model}: is an endpoint already; give a checkpoint")
    model.resolve(config.decode)
    service = Service(model, Engine(model, args.max_batch, args.max_waiting), config.decode, args.name or args.model)
    try:
        server = Server(args.host, args.port, service)
    except OSError as error:
        raise InputError(f"--host {args.host} --port {args.port}: cannot listen there ({error.strerror or error})") from None
    print(
        f"{service.name} ({model.info.fingerprint}) at {server.url}; Ctrl-C finishes what is being decoded and ends", flush=True
    )
    return _until_told(server)


def _until_told(server: "Server") -> int:
    """Serve until SIGINT or SIGTERM, then finish what is there; a second signal ends at once."""
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: told.set())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    told.wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    running, waiting = server.service.engine.load()
    print(f"ending: {running} being decoded, {waiting} waiting", flush=True)
    server.finish(timeout=30.0)
    return 0
