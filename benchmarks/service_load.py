"""The service under load, by real HTTP on this machine: images a second beside the engine's own,
single images on several connections, a long run that watches memory and mix-ups, twice the load,
and a start after SIGKILL.

    python -m benchmarks.service_load --workdir runs/revit_cifar10
    python -m benchmarks.service_load --workdir runs/revit_digits --parts batches singles

Images are the training's test images, at the service's own budget. The client runs beside the
service on the same cores; its processor time is told. Prints a table for each part and writes
benchmarks/results/service_load-NAME.json. Minutes; `--small` takes seconds and measures nothing.
"""

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.http_client import Connection, Reply, Served

PARTS = ("batches", "singles", "long", "overload", "restart")
_TOLERANCE = 1e-4  # of probabilities between batches of other sizes
_SMALL = {"images": 64, "rounds": 1, "requests": 60, "seconds": 1.0}


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_digits"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--images", type=int, default=2048, help="different ones")
    parser.add_argument("--rounds", type=int, default=5, help="of engine and service in turn")
    parser.add_argument("--requests", type=int, default=50_000, help="of the long run")
    parser.add_argument("--seconds", type=float, default=60.0, help="of twice the load")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--out", type=Path, default=common.RESULTS)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args(words)
    if arguments.small:
        vars(arguments).update(_SMALL)
    return arguments


def main(words: list[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = _arguments(words)
    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    images, engine = _images_and_engine(arguments)
    sizes = tuple(sorted(arguments.batch_sizes))
    served = Served(arguments.workdir, f"--config.engine.batch_sizes={sizes}")
    known = engine.all(images)
    load = _Load(arguments, images, known.probabilities, engine, served)
    found: dict[str, Any] = {"machine": common.machine(), "first_start_s": served.ready_seconds}
    found["mix"] = np.bincount(known.steps).tolist()
    try:
        for part in PARTS:
            if part in arguments.parts:
                found[part] = getattr(load, part)()
    finally:
        load.served.end()
    path = arguments.out / f"service_load-{arguments.workdir.name}.json"
    common.write_json(path, found)


def _images_and_engine(arguments: argparse.Namespace) -> tuple[np.ndarray, Any]:
    """Test images, and the engine that does what the service does by default."""
    from vintk_jax.adaptive.by_setting import Setting
    from vintk_jax.defaults.serve import serve
    from vintk_jax.inference.engine import Engine
    from vintk_jax.inference.plans import Plans
    from vintk_jax.serving.model import load

    loaded = load(arguments.workdir, "best", "auto", serve().budget.to_dict(), print)
    predictor = loaded.predictor
    plans = Plans(predictor)
    plan = plans.fixed(predictor.names[0])
    if loaded.assigner is not None:
        point = loaded.calibration.choose("assigned", **loaded.budget)
        plan = loaded.assigner.at(point).plan(plans)
        print(f"The service's own budget: {Setting(point.start, point.setting)}")
    sizes = tuple(sorted(arguments.batch_sizes))
    engine = Engine(plan, predictor.shape, sizes)
    engine.warm_up()
    return _images(arguments, predictor), engine


def _images(arguments: argparse.Namespace, predictor: Any) -> np.ndarray:
    if arguments.small:
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, 256, (arguments.images, *predictor.shape))
        bright = np.linspace(0, 1, arguments.images)[:, None, None, None]
        return (drawn * bright).astype(np.uint8)
    from vintk_jax.data.sources import open_source
    from vintk_jax.workdir.config_claims import read_claimed

    training = read_claimed(arguments.workdir, "train")
    source = open_source(training.data.source, training.data.test_split)
    rng = np.random.default_rng(0)
    count = min(arguments.images, len(source))
    made = [predictor.eval_transform(source[i], rng)["image"] for i in range(count)]
    return np.stack(made)


class _Load:
    """The parts."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        images: np.ndarray,
        wanted: np.ndarray,
        engine: Any,
        served: Served,
    ):
        self._arguments = arguments
        self._images = images
        self._wanted = wanted
        self._engine = engine
        self.served = served
        self._capacity = 0.0  # images a second in requests of 32

    def batches(self) -> list[dict[str, Any]]:
        """Requests of 32 bare images on 4 and on 16 connections, beside the engine alone, in
        turn.
        """
        rows = [self._batches(connections) for connections in (4, 16)]
        self._capacity = rows[-1]["service"]
        common.print_table(
            f"{self._arguments.workdir.name}: requests of 32 bare images",
            [
                "connections",
                "engine, images/s",
                "service, images/s",
                "share (of each round)",
                "cores, of worker",
                "front",
                "client",
            ],
            [
                [
                    str(row["connections"]),
                    f"{row['engine']:,.0f}",
                    f"{row['service']:,.0f}",
                    f"{row['share']:.0%} ({min(row['shares']):.0%} to {max(row['shares']):.0%})",
                    f"{row['cores']['worker']:.2f}",
                    f"{row['cores']['front']:.2f}",
                    f"{row['cores']['client']:.2f}",
                ]
                for row in rows
            ],
        )
        return rows

    def _batches(self, connections: int) -> dict[str, Any]:
        engine, service, cores = [], [], []
        count = 4 * len(self._images) // 32
        self._send(32, connections, count // 4)
        for _ in range(self._arguments.rounds):
            begun = time.perf_counter()
            for _ in range(2):
                self._engine.all(self._images)
            engine.append(2 * len(self._images) / (time.perf_counter() - begun))
            run = self._send(32, connections, count)
            service.append(run.images / run.seconds)
            spent = {kind: used / run.seconds for kind, used in run.processor.items()}
            cores.append({**spent, "client": run.client})
        shares = [ours / alone for ours, alone in zip(service, engine, strict=True)]
        return {
            "connections": connections,
            "engine": statistics.median(engine),
            "service": statistics.median(service),
            "share": statistics.median(shares),
            "shares": shares,
            "cores": {kind: statistics.median(one[kind] for one in cores) for kind in cores[0]},
        }

    def singles(self) -> list[dict[str, Any]]:
        """One bare image a request on 1, 8 and 64 connections."""
        rows = []
        count = 60 if self._arguments.small else 4000
        for connections in (1, 8, 64):
            run = self._send(1, connections, count // (4 if connections == 1 else 1))
            rows.append({"connections": connections, **run.summary()})
        common.print_table(
            f"{self._arguments.workdir.name}: one bare image a request",
            [
                "connections",
                "images/s",
                "p50, ms",
                "p99, ms",
                "processor ms a request, of the client",
                "front",
                "worker",
            ],
            [
                [
                    str(row["connections"]),
                    f"{row['rate']:,.0f}",
                    f"{row['p50_ms']:.1f}",
                    f"{row['p99_ms']:.1f}",
                    f"{row['client_ms']:.2f}",
                    f"{row['front_ms']:.2f}",
                    f"{row['worker_ms']:.2f}",
                ]
                for row in rows
            ],
        )
        return rows

    def long(self) -> dict[str, Any]:
        """Many requests on 32 connections; every answer is compared with its own image's."""
        self._send(1, 32, min(2000, self._arguments.requests))
        before = self.served.memory()
        run = self._send(1, 32, self._arguments.requests)
        after = self.served.memory()
        row = {**run.summary(), "wrong": run.wrong, "lost": run.lost, "memory_mb": [before, after]}
        common.print_table(
            f"{self._arguments.workdir.name}: {self._arguments.requests:,} requests of one image, "
            "32 connections",
            ["images/s", "not answered", "another's answer", "front, MB", "worker, MB"],
            [
                [
                    f"{row['rate']:,.0f}",
                    str(run.lost),
                    str(run.wrong),
                    f"{before['front']:.0f} -> {after['front']:.0f}",
                    f"{before['worker']:.0f} -> {after['worker']:.0f}",
                ]
            ],
        )
        return row

    def overload(self) -> dict[str, Any]:
        """Requests of 32 images, sent at twice the rate that is answered, whether the answers come
        or not.
        """
        if not self._capacity:
            run = self._send(32, 16, 4 * len(self._images) // 32)
            self._capacity = run.images / run.seconds
        rate = 2 * self._capacity / 32
        found = asyncio.run(self._flood(rate, self._arguments.seconds))
        accepted = [reply.seconds for reply in found["replies"] if reply.status == 200]
        row = {
            "sent_a_second": rate * 32,
            "accepted": len(accepted),
            "refused": sum(reply.status == 429 for reply in found["replies"]),
            "others": sum(reply.status not in (200, 429) for reply in found["replies"]),
            "images_per_second": 32 * len(accepted) / self._arguments.seconds,
            "slowest_s": max(accepted, default=0.0),
            "p99_s": float(np.quantile(accepted, 0.99)) if accepted else 0.0,
            "refusal_p99_s": found["refusal_p99_s"],
            "recovered_s": found["recovered_s"],
        }
        common.print_table(
            f"{self._arguments.workdir.name}: twice the load for {self._arguments.seconds:g} s",
            [
                "images/s sent",
                "answered",
                "requests refused (429)",
                "others",
                "slowest accepted, s",
                "refused within, s (p99)",
                "single image after it, s",
            ],
            [
                [
                    f"{row['sent_a_second']:,.0f}",
                    f"{row['images_per_second']:,.0f}",
                    f"{row['refused']:,}",
                    str(row["others"]),
                    f"{row['slowest_s']:.2f}",
                    f"{row['refusal_p99_s']:.3f}",
                    f"{row['recovered_s']:.3f}",
                ]
            ],
        )
        return row

    async def _flood(self, rate: float, seconds: float) -> dict[str, Any]:
        """Requests at a rate; then a single one, and how long until its answer."""
        free = [Connection(self.served.port) for _ in range(400)]
        replies: list[Reply] = []
        tasks: set[asyncio.Task] = set()
        content = self._images[:32].tobytes()

        async def one(connection: Connection) -> None:
            replies.append(await connection.post("/predict?top=1", content))
            free.append(connection)

        begun = time.perf_counter()
        sent = 0
        while (now := time.perf_counter() - begun) < seconds:
            while sent < rate * now and free:
                task = asyncio.create_task(one(free.pop()))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.002)
        # From here on nothing more is sent; a request at once, until it isn't refused.
        ended = time.perf_counter()
        last = Connection(self.served.port)
        while (await last.post("/predict?top=1", self._images[:1].tobytes())).status != 200:
            await asyncio.sleep(0.01)
        recovered = time.perf_counter() - ended
        await asyncio.gather(*tasks)
        for connection in (*free, last):
            connection.close()
        refusals = [reply.seconds for reply in replies if reply.status == 429]
        return {
            "replies": replies,
            "recovered_s": recovered,
            "refusal_p99_s": float(np.quantile(refusals, 0.99)) if refusals else 0.0,
        }

    def restart(self) -> dict[str, Any]:
        """SIGKILL, and the same command again."""
        seconds = []
        sizes = tuple(sorted(self._arguments.batch_sizes))
        for _ in range(1 if self._arguments.small else 3):
            self.served.kill()
            self.served = Served(self._arguments.workdir, f"--config.engine.batch_sizes={sizes}")
            seconds.append(self.served.ready_seconds)
        common.print_table(
            f"{self._arguments.workdir.name}: ready again after SIGKILL",
            ["seconds, of several"],
            [[", ".join(f"{one:.1f}" for one in seconds)]],
        )
        return {"seconds": seconds}

    def _send(self, size: int, connections: int, count: int) -> "_Run":
        """So many requests of so many images each, on some connections, each after the other."""
        before = self.served.processor()
        client = time.process_time()
        begun = time.perf_counter()
        replies = asyncio.run(self._closed_loop(size, connections, count))
        seconds = time.perf_counter() - begun
        client = time.process_time() - client
        after = self.served.processor()
        spent = {kind: after[kind] - before[kind] for kind in after}
        wrong = sum(self._is_wrong(start, reply) for start, reply in replies)
        return _Run([reply for _, reply in replies], size, seconds, client, spent, wrong)

    async def _closed_loop(
        self, size: int, connections: int, count: int
    ) -> list[tuple[int, Reply]]:
        replies: list[tuple[int, Reply]] = []
        starts = iter([(i * size) % (len(self._images) - size + 1) for i in range(count)])

        async def one() -> None:
            connection = Connection(self.served.port)
            for start in starts:
                content = self._images[start : start + size].tobytes()
                replies.append((start, await connection.post("/predict", content)))
            connection.close()

        await asyncio.gather(*(one() for _ in range(connections)))
        return replies

    def _is_wrong(self, start: int, reply: Reply) -> bool:
        """Whether an answer isn't its own images'."""
        if reply.status != 200:
            return False
        found = [answer["probabilities"] for answer in reply.answers()]
        wanted = self._wanted[start : start + len(found)]
        # An image at the edge between two lengths may go either way in batches of another size;
        # another image's answer is far off in most of its probabilities.
        return bool((np.abs(np.array(found) - wanted).max(axis=1) > _TOLERANCE).mean() > 0.1)


class _Run:
    """Requests of one kind, and what they took."""

    def __init__(
        self,
        replies: list[Reply],
        size: int,
        seconds: float,
        client: float,
        processor: dict[str, float],
        wrong: int,
    ):
        self.replies = replies
        self.seconds = seconds
        self.images = size * sum(reply.status == 200 for reply in replies)
        self.client = client / seconds
        self.processor = processor
        self.wrong = wrong
        self.lost = sum(reply.status != 200 for reply in replies)
        self._client_s = client

    def summary(self) -> dict[str, float]:
        """Rate, latencies, and processor time a request."""
        latencies = np.array([reply.seconds for reply in self.replies]) * 1000
        count = len(self.replies)
        return {
            "rate": self.images / self.seconds,
            "p50_ms": float(np.quantile(latencies, 0.5)),
            "p99_ms": float(np.quantile(latencies, 0.99)),
            "client_ms": 1000 * self._client_s / count,
            "front_ms": 1000 * self.processor["front"] / count,
            "worker_ms": 1000 * self.processor["worker"] / count,
        }


if __name__ == "__main__":
    main()
